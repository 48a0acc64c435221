//! Placeholders: of Liquid, the language of cargo-generate's templates, the two forms that ours use. `{{name}}` is a value, and
//! `{{name | replace: "CRATE", "net"}}` a value in which a word is replaced.

/// What placeholders stand for.
pub struct Values {
    /// `project-name`, and with underscores `crate_name`.
    pub project_name: String,
    /// `unikernel`: where the framework comes from, as in Cargo.toml, where `CRATE` stands for a crate's folder.
    pub framework: String,
    /// `unikernel-install`: the words for `cargo install` that install this command.
    pub install: String,
}

impl Values {
    fn get(&self, name: &str) -> Option<String> {
        Some(match name {
            "project-name" => self.project_name.clone(),
            "crate_name" => self.project_name.replace('-', "_"),
            "unikernel" => self.framework.clone(),
            "unikernel-install" => self.install.clone(),
            _ => return None,
        })
    }

    /// The value of what stands between the braces.
    fn evaluate(&self, expression: &str) -> Option<String> {
        let Some((name, filter)) = expression.split_once('|') else { return self.get(expression.trim()) };
        let words = filter.trim().strip_prefix("replace:")?;
        let mut quoted = words.split('"').skip(1).step_by(2);
        let (word, by) = (quoted.next()?, quoted.next()?);
        Some(self.get(name.trim())?.replace(word, by))
    }
}

/// Puts the values in. A placeholder that nobody knows is a mistake in our template, and panics.
pub fn fill(text: &str, values: &Values) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, after) = after.split_once("}}").expect("a placeholder ends");
        filled.push_str(before);
        let value = values.evaluate(expression);
        filled.push_str(&value.unwrap_or_else(|| panic!("the template has an unknown placeholder `{expression}`")));
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new::templates::TEMPLATES;

    fn values() -> Values {
        let framework = r#"path = "/src/uk/CRATE""#.into();
        Values { project_name: "my-app".into(), framework, install: "--path /src/uk/cargo-unikernel".into() }
    }

    #[test]
    fn placeholders() {
        let check = |text: &str, expected: &str| assert_eq!(fill(text, &values()), expected);
        check("", "");
        check("no { { braces } }", "no { { braces } }");
        check("{{project-name}}", "my-app");
        check("use {{crate_name}}::run;", "use my_app::run;");
        check("{{ crate_name }} {{crate_name}}", "my_app my_app");
        check("cargo install {{unikernel-install}}\n", "cargo install --path /src/uk/cargo-unikernel\n");
        check(r#"net = { {{unikernel | replace: "CRATE", "net"}} }"#, r#"net = { path = "/src/uk/net" }"#);
    }

    #[test]
    #[should_panic = "unknown placeholder `nobody`"]
    fn an_unknown_placeholder_is_our_mistake() {
        fill("{{nobody}}", &values());
    }

    /// The engine of cargo-generate, as it sets it up.
    #[test]
    fn cargo_generate_fills_the_same() {
        let engine = liquid::ParserBuilder::with_stdlib().build().unwrap();
        let values = values();
        let names = ["project-name", "crate_name", "unikernel", "unikernel-install"];
        let text = |name: &str| liquid::model::Value::scalar(values.get(name).unwrap());
        let globals: liquid::Object = names.iter().map(|name| ((*name).into(), text(name))).collect();
        for (template, file) in TEMPLATES.iter().flat_map(|template| template.files.iter().map(move |f| (template, f)))
        {
            let place = format!("{}/{}", template.name, file.path);
            let theirs = engine.parse(file.text).and_then(|parsed| parsed.render(&globals));
            let theirs = theirs.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(fill(file.text, &values), theirs, "{place}");
            assert!(!theirs.contains("{{") && !theirs.contains("CRATE"), "{place}");
        }
    }
}
