//! Commands that an answer tells people to run next.

use crate::escape::shell_word;

/// A longer one is not copied by anybody.
const MOST: usize = 1_000;

/// The words that a plan was asked for with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// A plan, or a saved change set.
    pub file: String,
    pub saved: bool,
    /// What gives its inputs values.
    pub inputs: Vec<String>,
    /// What else decides about the steps.
    pub more: Vec<String>,
    /// The whole of it, where something is taken back: such a command takes no id.
    pub back: Option<Vec<String>>,
}

impl Words {
    /// What does it, and with an id exactly it; `None` where no shell would read what is shown.
    pub fn apply(&self, id: Option<&str>) -> Option<String> {
        if let Some(back) = &self.back {
            return command(&back.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let mut words = vec!["hostguard", "apply", &self.file];
        if !self.saved {
            words.extend(self.inputs.iter().chain(&self.more).map(String::as_str));
            words.extend(id.into_iter().flat_map(|id| ["--expect-id", id]));
        }
        command(&words)
    }

    /// What walks a packet between these two ends once the plan is applied.
    pub fn why(&self, [from, to]: &[String; 2]) -> Option<String> {
        if self.saved || self.back.is_some() {
            return None;
        }
        let mut words = vec!["hostguard", "why", from, to, &self.file];
        words.extend(self.inputs.iter().map(String::as_str));
        command(&words)
    }
}

/// The words as a shell reads them.
pub fn command(words: &[&str]) -> Option<String> {
    let words: Option<Vec<String>> = words.iter().map(|word| shell_word(word)).collect();
    words
        .map(|words| words.join(" "))
        .filter(|command| command.len() <= MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_word_or_there_is_no_command() {
        let words = |file: &str| Words {
            file: file.to_string(),
            inputs: vec!["--set".into(), "a=b c".into()],
            ..Words::default()
        };
        assert_eq!(
            words("$(x).yaml").apply(Some("sha256:1")).as_deref(),
            Some("hostguard apply '$(x).yaml' --set 'a=b c' --expect-id sha256:1")
        );
        assert_eq!(words("a'b.yaml").apply(None), None);
        assert_eq!(words(&"a".repeat(MOST)).apply(None), None);
    }
}
