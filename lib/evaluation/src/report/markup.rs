//! Tables for papers and notes: the best value of each column in bold, significant differences with a raised dagger.

use super::cells::{Cell, MARK, cells, header};
use crate::RunScores;
use crate::significance::Baseline;

/// A table with the rules of booktabs, and what the mark means as a comment below.
pub(super) fn latex(runs: &[RunScores], baseline: Option<&Baseline>) -> String {
    let header = header(runs);
    let names: Vec<String> = header.iter().map(|name| escape_latex(name)).collect();
    let mut text = "% \\usepackage{booktabs}\n".to_owned();
    text += &format!("\\begin{{tabular}}{{l{}}}\n\\toprule\n", "r".repeat(header.len()));
    text += &format!("Run & {} \\\\\n\\midrule\n", names.join(" & "));
    let cells = cells(runs, baseline);
    for (run, row) in runs.iter().zip(&cells) {
        let cell = |cell: &Cell| {
            let value = if cell.is_best { format!("\\textbf{{{}}}", cell.text) } else { cell.text.clone() };
            let mark = if cell.is_marked { "$^{\\dagger}$" } else { "" };
            value + mark
        };
        let row: Vec<String> = row.iter().map(cell).collect();
        text += &format!("{} & {} \\\\\n", escape_latex(&run.run), row.join(" & "));
    }
    text += "\\bottomrule\n\\end{tabular}\n";
    if let Some(legend) = legend(runs, baseline, &cells) {
        text += &format!("% $^{{\\dagger}}$ {}\n", escape_latex(&legend));
    }
    text
}

/// A table as GitHub and most others take it, and what the mark means below.
pub(super) fn markdown(runs: &[RunScores], baseline: Option<&Baseline>) -> String {
    let header = header(runs);
    let names: Vec<String> = header.iter().map(|name| escape_markdown(name)).collect();
    let mut text = format!("| run | {} |\n|---|{}\n", names.join(" | "), "---:|".repeat(header.len()));
    let cells = cells(runs, baseline);
    for (run, row) in runs.iter().zip(&cells) {
        let cell = |cell: &Cell| {
            let value = if cell.is_best { format!("**{}**", cell.text) } else { cell.text.clone() };
            let mark = if cell.is_marked { format!("<sup>{MARK}</sup>") } else { String::new() };
            value + &mark
        };
        let row: Vec<String> = row.iter().map(cell).collect();
        text += &format!("| {} | {} |\n", escape_markdown(&run.run), row.join(" | "));
    }
    if let Some(legend) = legend(runs, baseline, &cells) {
        text += &format!("\n<sup>{MARK}</sup> {}\n", escape_markdown(&legend));
    }
    text
}

/// What the mark means, if there is one.
fn legend(runs: &[RunScores], baseline: Option<&Baseline>, cells: &[Vec<Cell>]) -> Option<String> {
    let is_any_marked = cells.iter().flatten().any(|cell| cell.is_marked);
    baseline.filter(|_| is_any_marked).map(|baseline| baseline.legend(&runs[baseline.place].run))
}

fn escape_latex(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' => "\\textbackslash{}".to_owned(),
        '~' => "\\textasciitilde{}".to_owned(),
        '^' => "\\textasciicircum{}".to_owned(),
        '<' => "\\textless{}".to_owned(),
        '>' => "\\textgreater{}".to_owned(),
        '|' => "\\textbar{}".to_owned(),
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{c}"),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn escape_markdown(text: &str) -> String {
    let escape = |c: char| match c {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '~' => format!("\\{c}"),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_the_markup_stay_text() {
        assert_eq!(escape_latex("a_b & 50% {x} \\y^2"), r"a\_b \& 50\% \{x\} \textbackslash{}y\textasciicircum{}2");
        assert_eq!(escape_markdown("a_b|c<script>\n*d*"), r"a\_b\|c&lt;script&gt; \*d\*");
    }
}
