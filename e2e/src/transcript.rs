//! What a page shows of a terminal: commands after `$ `, and what they print.

/// A command, and what it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is typed.
    pub command: String,
    /// The lines that follow. `…` stands for any lines, and in a line for any text.
    pub output: Vec<String>,
    /// What follows after somebody has typed Ctrl-C, where the page shows that.
    pub after_interrupt: Option<Vec<String>>,
}

/// The blocks of a page that show commands, each a list of them. Without what is typed as root, and without what a debugger is told.
pub fn transcripts(page: &str) -> Vec<Vec<Step>> {
    blocks(page).iter().map(|block| steps(block)).filter(|steps| !steps.is_empty()).collect()
}

/// What stands between fences that say `text`, and what is indented.
fn blocks(page: &str) -> Vec<String> {
    let (mut blocks, mut block, mut fence) = (Vec::new(), String::new(), None);
    for line in page.lines().chain([""]) {
        let is_fence = line.starts_with("```");
        let shown = match fence {
            Some(fence) => (!is_fence && fence == "```text").then_some(line),
            None => line.strip_prefix("    "),
        };
        match shown {
            Some(line) => block += &format!("{line}\n"),
            None => blocks.push(std::mem::take(&mut block)),
        }
        if is_fence {
            fence = if fence.is_none() { Some(line) } else { None };
        }
    }
    blocks
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: Vec::new(), after_interrupt: None });
            continue;
        }
        let Some(step) = steps.last_mut() else { continue };
        match (line.strip_prefix("^C"), &mut step.after_interrupt) {
            (Some(rest), _) => step.after_interrupt = Some(vec![rest.to_owned()]),
            (None, Some(lines)) => lines.push(line.to_owned()),
            (None, None) => step.output.push(line.to_owned()),
        }
    }
    steps
}

/// Whether a command has printed what a page shows. Numbers, units of time and the widths of columns may differ, and nothing
/// else.
pub fn shows(page: &[String], said: &str) -> bool {
    let page: Vec<String> = page.iter().map(|line| normal(line)).collect();
    let said: Vec<String> = said.lines().map(normal).collect();
    lines_match(filled(&page), filled(&said))
}

/// Without empty lines at either end.
fn filled(lines: &[String]) -> &[String] {
    let is_filled = |line: &String| !line.is_empty();
    match (lines.iter().position(is_filled), lines.iter().rposition(is_filled)) {
        (Some(first), Some(last)) => &lines[first..=last],
        _ => &[],
    }
}

/// The line with `#` for each number, be it hexadecimal behind `0x`, `s` for each unit of time behind one, and one space where
/// there are several.
fn normal(line: &str) -> String {
    let mut line = without_numbers(line);
    while line.contains("#.#") {
        line = line.replace("#.#", "#");
    }
    let words = line.split(' ').scan("", |last, word| {
        let is_time = matches!(word.trim_end_matches(','), "us" | "ms" | "s") && last.ends_with('#');
        *last = word;
        Some(if is_time { word.trim_start_matches(['u', 'm']) } else { word })
    });
    words.collect::<Vec<_>>().join(" ")
}

fn without_numbers(line: &str) -> String {
    let mut normal = String::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (of_number, name): (fn(&char) -> bool, _) = match first {
            '0' if rest.starts_with("0x") => (|char| char.is_ascii_alphanumeric(), "#"),
            '0'..='9' => (char::is_ascii_digit, "#"),
            ' ' => (|char| *char == ' ', " "),
            _ => (|_| false, ""),
        };
        let length = rest.chars().take_while(of_number).count().max(first.len_utf8());
        normal += if name.is_empty() { &rest[..length] } else { name };
        rest = &rest[length..];
    }
    normal
}

fn lines_match(page: &[String], said: &[String]) -> bool {
    match page.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first == "…" => (0..=said.len()).any(|skipped| lines_match(rest, &said[skipped..])),
        Some((first, rest)) => {
            said.split_first().is_some_and(|(line, later)| line_matches(first, line) && lines_match(rest, later))
        }
    }
}

fn line_matches(shown: &str, said: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else { return shown == said };
    let Some(said) = said.strip_prefix(start) else { return false };
    let starts = said.char_indices().map(|(index, _)| index).chain([said.len()]);
    starts.into_iter().any(|index| line_matches(rest, &said[index..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_taken_apart() {
        let page = "Say:\n```text\n# root does\n$ one 2\nout\n…\n$ three\nfour\n^Cfive\nsix\n```\nand\n```text\nnothing typed\n```\n\n    $ seven\n    eight\n\nx\n```sh\n$ no\n```\n";
        let step = |command: &str, output: &[&str], after: Option<&[&str]>| {
            let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
            Step { command: command.to_owned(), output: lines(output), after_interrupt: after.map(lines) }
        };
        let fenced = vec![step("one 2", &["out", "…"], None), step("three", &["four"], Some(&["five", "six"]))];
        assert_eq!(transcripts(page), [fenced, vec![step("seven", &["eight"], None)]]);
    }

    #[test]
    fn only_numbers_and_widths_may_differ() {
        let check = |page: &str, said: &str, expected: bool| {
            let page: Vec<String> = page.lines().map(str::to_owned).collect();
            assert_eq!(shows(&page, said), expected, "{page:?} and {said:?}");
        };
        check("", "", true);
        check("", "\n", true);
        check("", "a", false);
        check("a  1", "a 22\n", true);
        check("at 0xffa0: 3.5 ms", "at 0x1: 12.75 ms", true);
        check("3.5 ms, 4 s", "12 us, 8 ms", true);
        check("a ms", "a us", false);
        check("a 1", "b 1", false);
        check("a 1", "a b", false);
        check("a", "a\nb", false);
        check("a\nb", "a", false);
        check("…\nb", "a\na\nb", true);
        check("…\nb", "b", true);
        check("…\nb", "a", false);
        check("a\n…", "a\nb\nc", true);
        check("a … c", "a b b c", true);
        check("a … c", "a b b", false);
        check("a…", "a", true);
        check("ä…ö 7", "äüö 8", true);
    }
}
