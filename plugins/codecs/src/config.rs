//! The operator's document for this plugin: it has no settings, and says so by name to whoever tries one.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// Accepts nothing at all and `{}`; refuses everything else with a text that names the culprit.
pub fn check(config: &[u8]) -> Result<(), String> {
    if config.trim_ascii().is_empty() {
        return Ok(());
    }
    let fields: BTreeMap<String, IgnoredAny> =
        serde_json::from_slice(config).map_err(|error| format!("the configuration must be a JSON object: {error}"))?;
    match fields.keys().next() {
        None => Ok(()),
        Some(name) => Err(format!("unknown field `{name}`: this plugin has no settings")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn nothing_and_an_empty_object_are_accepted() {
        assert_eq!(check(b""), Ok(()));
        assert_eq!(check(b" {} "), Ok(()));
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = check(br#"{"limit": 3}"#).unwrap_err();
        assert!(error.contains("`limit`"), "{error}");
    }

    #[test]
    fn a_configuration_that_is_no_object_is_refused() {
        assert!(check(b"[1]").is_err());
        assert!(check(b"{").is_err());
    }
}
