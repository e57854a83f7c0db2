//! The `hexiao` binary.

use std::process::ExitCode;

/// The writer allocates for every value it binds and reads: glibc's allocator took a fifth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hexiao_server::cli::main()
}
