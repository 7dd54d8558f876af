//! The README's transcript is what the binary prints.
//!
//! Blocks that begin with ```` ```console ```` are run line by line in a folder with `plans/` and `cluster.json`. `BLESS=1` rewrites
//! them.

use std::path::PathBuf;

use crate::golden;

#[test]
fn the_transcript_is_what_is_printed() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).expect("README.md is there");
    let folder = golden::folder_with_cluster();
    let mut blocks = 0;
    let mut rewritten = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("```console\n") {
        let (block, after) = after.split_once("```\n").expect("a block that begins ends");
        let commands: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
        assert!(!commands.is_empty(), "a transcript has commands");
        rewritten.push_str(before);
        rewritten.push_str("```console\n");
        rewritten.push_str(&golden::transcript(folder.path(), &commands));
        rewritten.push_str("```\n");
        rest = after;
        blocks += 1;
    }
    rewritten.push_str(rest);
    assert!(blocks > 0, "README.md has a transcript");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, rewritten).expect("README.md can be written");
    } else {
        let diff = similar::TextDiff::from_lines(&text, &rewritten);
        assert!(
            text == rewritten,
            "{}",
            diff.unified_diff().header("README.md", "printed")
        );
    }
}
