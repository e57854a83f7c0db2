//! A new password from whoever runs a command: typed without being shown, or piped.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context, anyhow, bail, ensure};
use hexiao_app::auth::password_problem;

/// How often somebody may mistype.
const TRIES: u32 = 5;

/// What a password must be, for prompts.
pub const WANTED: &str = "8 个字符以上，含字母和数字";

/// Reads a new password. At a terminal it is asked for twice and never shown; otherwise it is a line of the standard
/// input.
pub fn read_new(what: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        return read_hidden(what);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("不能读取标准输入")?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    ensure!(!password.is_empty(), "缺少「{what}」：请从标准输入给出一行，或在终端运行");
    check(&password)?;
    Ok(password)
}

/// Refuses one that the API would refuse too.
pub fn check(password: &str) -> anyhow::Result<()> {
    password_problem(password).map_or(Ok(()), |problem| Err(anyhow!("{problem}")))
}

fn read_hidden(what: &str) -> anyhow::Result<String> {
    let ask = |prompt: String| rpassword::prompt_password(prompt).context("不能从终端读取密码");
    for _ in 0..TRIES {
        let password = ask(format!("{what}（{WANTED}；输入时不显示）："))?;
        if let Err(problem) = check(&password) {
            println!("{problem}，请重新输入");
            continue;
        }
        if ask("再输入一次：".to_owned())? == password {
            return Ok(password);
        }
        println!("两次输入的不一样，请重新输入");
    }
    bail!("没有得到可用的密码")
}
