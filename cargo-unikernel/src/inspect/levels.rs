//! `cargo unikernel log-level`: which log lines a machine writes.

use anyhow::Result;
use unikernel_inspect::wire::{LevelRule, Levels};

use crate::fs::printable;

use super::{
    Target,
    client::encoded,
    show,
    table::{Align::Left, Table},
};

/// Shows or changes which log lines a machine writes.
#[derive(clap::Args)]
pub struct LogLevel {
    #[command(flatten)]
    target: Target,
    /// LEVEL for all modules or MODULE=LEVEL for one and those inside it; `off` is silence, `default` takes a rule back.
    #[arg(value_name = "[MODULE=]LEVEL")]
    rules: Vec<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl LogLevel {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        let mut client = self.target.open()?;
        for rule in &self.rules {
            let (module, level) = rule.split_once('=').unwrap_or(("", rule));
            let path = format!("/log-level?module={}&level={}", encoded(module), encoded(level));
            client.ask::<Levels>("PUT", &path)?;
        }
        let levels: Levels = client.get("/log-level")?;
        let text = if self.json { serde_json::to_string(&levels)? } else { text(&levels) };
        show(&text)
    }
}

fn text(levels: &Levels) -> String {
    let mut table = Table::new(&[("LEVEL", Left), ("MODULE", Left)]);
    if !levels.rules.iter().any(|rule| rule.module.is_empty()) {
        table.push([levels.built.clone(), "(all others)".into()]);
    }
    for LevelRule { module, level } in &levels.rules {
        let module = if module.is_empty() { "(all others)" } else { module };
        table.push([level.clone(), module.into()]);
    }
    let mut text = table.text();
    if levels.rules.iter().any(|rule| detail(&rule.level) > detail(&levels.built)) {
        let built = printable(&levels.built);
        text += &format!("The image was built with DEFMT_LOG={built}: more detailed lines are not in it.\n");
    }
    text
}

fn detail(level: &str) -> Option<usize> {
    ["off", "error", "warn", "info", "debug", "trace"].iter().position(|known| *known == level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &[(&str, &str)], expected: &str) {
        let rule = |(module, level): &(&str, &str)| LevelRule { module: (*module).into(), level: (*level).into() };
        assert_eq!(text(&Levels { built: "info".into(), rules: rules.iter().map(rule).collect() }), expected);
    }

    #[test]
    fn rules_as_a_table() {
        check(&[], "LEVEL  MODULE\ninfo   (all others)\n");
        check(&[("", "warn"), ("a::b", "off")], "LEVEL  MODULE\nwarn   (all others)\noff    a::b\n");
        check(
            &[("a", "debug")],
            "LEVEL  MODULE\ninfo   (all others)\ndebug  a\n\
             The image was built with DEFMT_LOG=info: more detailed lines are not in it.\n",
        );
    }
}
