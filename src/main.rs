//! argv -> Cli -> verb -> exit code. The only file that prints.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use hostguard::cli::Cli;
use hostguard::cmd::{self, Console};
use hostguard::error::Kind;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 });
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs only memory");
    let mut terminal = Terminal { broken: None };
    let mut code = runtime.block_on(cmd::run(cli, &mut terminal));
    if let Some(why) = terminal.broken
        && code == 0
    {
        let _ = writeln!(
            std::io::stderr().lock(),
            "error: standard output cannot be written: {why}"
        );
        code = Kind::Failed.exit_code();
    }
    runtime.shutdown_background(); // a credential plugin that hangs must not hold the end
    ExitCode::from(code)
}

/// Standard streams. A reader that went away (`| head`) is no error.
struct Terminal {
    broken: Option<String>,
}

impl Console for Terminal {
    fn answer(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => self.broken = Some(error.to_string()),
            Ok(()) | Err(_) => {}
        }
    }

    fn broken(&self) -> Option<String> {
        self.broken.clone()
    }

    fn story(&mut self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal()
    }

    fn ask(&mut self, question: &str) -> String {
        let _ = write!(std::io::stderr().lock(), "{question}");
        let mut line = String::new();
        let _ = std::io::stdin().read_line(&mut line);
        line
    }
}
