//! The environment over the file: `TIERGATE_HTTP__LISTEN=0.0.0.0:80` sets `http.listen`.

use toml::{Table, Value};

use super::Mistake;

/// What every variable starts with.
const PREFIX: &str = "TIERGATE_";

/// Puts every `TIERGATE_` variable over `table`. Two underscores go one level down; lists are comma-separated or TOML.
pub(super) fn overlay(
    table: &mut Table,
    variables: impl Iterator<Item = (String, String)>,
    mistakes: &mut Vec<Mistake>,
) {
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        // These are options of the command line.
        if matches!(path, "CONFIG" | "URL" | "TOKEN") {
            continue;
        }
        let path = path.to_lowercase();
        let parts: Vec<&str> = path.split("__").collect();
        if let Err(at) = set(table, &parts, value(&path, &text)) {
            mistakes.push(Mistake::new(name, format!("`{at}` is a value and has nothing below it")));
        }
    }
}

fn value(path: &str, text: &str) -> Value {
    if matches!(path, "tiers" | "http__hosts" | "market__required" | "plugins__trusted_keys") {
        if let Some(Value::Array(list)) = toml(text) {
            return Value::Array(list);
        }
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Value::Array(items.map(|item| Value::String(item.to_owned())).collect());
    }
    match toml(text) {
        Some(value @ (Value::Integer(_) | Value::Boolean(_) | Value::Float(_) | Value::Array(_) | Value::Table(_))) => {
            value
        }
        _ => Value::String(text.to_owned()),
    }
}

fn toml(text: &str) -> Option<Value> {
    let mut table: Table = format!("value = {text}").parse().ok()?;
    table.remove("value")
}

fn set(table: &mut Table, path: &[&str], value: Value) -> Result<(), String> {
    match path {
        [] => Ok(()),
        [last] => {
            table.insert((*last).to_owned(), value);
            Ok(())
        }
        [first, rest @ ..] => match table.entry((*first).to_owned()).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(below) => set(below, rest, value),
            _ => Err((*first).to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_set_keys_at_every_depth_and_win_over_the_file() {
        let mut table: Table = "data_dir = \"/a\"\n[http]\nlisten = \"127.0.0.1:1\"".parse().unwrap();
        let variables = [
            ("TIERGATE_HTTP__LISTEN", "127.0.0.1:2"),
            ("TIERGATE_TIERS", "memcached://a:1, redis://b:2/0"),
            ("TIERGATE_HTTP__CONNECTIONS_MAX", "7"),
            ("TIERGATE_MARKET__REQUIRED", ""),
            ("PATH", "/bin"),
        ];
        let mut mistakes = Vec::new();
        overlay(&mut table, variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())), &mut mistakes);
        assert_eq!(mistakes, []);
        let expected: Table = "data_dir = \"/a\"\ntiers = [\"memcached://a:1\", \"redis://b:2/0\"]\n\
                               [http]\nlisten = \"127.0.0.1:2\"\nconnections_max = 7\n\
                               [market]\nrequired = []"
            .parse()
            .unwrap();
        assert_eq!(table, expected);
    }
}
