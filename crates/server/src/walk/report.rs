//! What a person sees: numbered steps with what came back and how long they took.

use std::io::Write;
use std::time::{Duration, Instant};

/// Prints steps as they happen.
pub(super) struct Report<W> {
    out: W,
    started: Instant,
    step: Step,
    /// Of the steps that went well.
    times: Vec<(String, Duration)>,
}

/// The step that is on.
struct Step {
    title: String,
    started: Instant,
    lines: Vec<String>,
}

impl<W: Write> Report<W> {
    pub(super) fn new(out: W) -> Self {
        let now = Instant::now();
        let step = Step { title: "准备".to_owned(), started: now, lines: Vec::new() };
        Self { out, started: now, step, times: Vec::new() }
    }

    /// A line above the steps.
    pub(super) fn title(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.out, "{text}\n")?;
        Ok(())
    }

    /// Begins a step: who does what.
    pub(super) fn step(&mut self, who: &str, what: &str) {
        self.step = Step { title: format!("{who}：{what}"), started: Instant::now(), lines: Vec::new() };
    }

    /// Notes something that came back in this step.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.step.lines.push(text.into());
    }

    /// Ends the step and prints it.
    pub(super) fn done(&mut self) -> anyhow::Result<()> {
        let elapsed = self.step.started.elapsed();
        let title = std::mem::take(&mut self.step.title);
        writeln!(self.out, "{:>3}. {title}  [{}]", self.times.len() + 1, millis(elapsed))?;
        for line in self.step.lines.drain(..) {
            writeln!(self.out, "       {line}")?;
        }
        self.out.flush()?;
        self.times.push((title, elapsed));
        Ok(())
    }

    /// The last lines, when all went well.
    pub(super) fn summary(&mut self) -> anyhow::Result<()> {
        let total = millis(self.started.elapsed());
        writeln!(self.out, "\n全部 {} 步通过，共 {total}。", self.times.len())?;
        if let Some((title, elapsed)) = self.times.iter().max_by_key(|(_, elapsed)| *elapsed) {
            writeln!(self.out, "最慢的一步：{title}（{}）", millis(*elapsed))?;
        }
        self.out.flush()?;
        Ok(())
    }

    /// Names the step that is on, for an error; what it had noted by then is part of the story.
    pub(super) fn failed_step(&self) -> String {
        let notes: String = self.step.lines.iter().map(|line| ["\n  ", line].concat()).collect();
        format!("第 {} 步「{}」未通过{notes}", self.times.len() + 1, self.step.title)
    }
}

/// `12.3 ms`
fn millis(elapsed: Duration) -> String {
    let tenths = elapsed.as_micros() / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_milliseconds() {
        for (micros, text) in
            [(0, "0.0 ms"), (999, "0.9 ms"), (12_345, "12.3 ms"), (61_000_000, "61000.0 ms")]
        {
            assert_eq!(millis(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn steps_are_numbered_and_a_failed_one_is_named() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        report.step("顾客", "登录");
        report.note("cus_1");
        report.done().unwrap();
        report.step("顾客", "下单");
        report.note("预览 58.00 元");
        assert_eq!(report.failed_step(), "第 2 步「顾客：下单」未通过\n  预览 58.00 元");
        report.summary().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("  1. 顾客：登录  ["), "{text}");
        assert!(text.contains("\n       cus_1\n") && text.contains("全部 1 步通过"), "{text}");
    }
}
