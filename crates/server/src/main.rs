//! The `hexiao` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hexiao_server::cli::main()
}
