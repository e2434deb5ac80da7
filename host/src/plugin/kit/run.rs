//! One check of one component: it is loaded as a gateway would load it, then every case of its kind is judged.

use std::fs;

use serde::{Deserialize, Serialize};

use super::law::Law;
use super::patience::patiently;
use super::report::{CheckLine, Report};
use super::subject::{Group, Subject};
use super::{Kit, KitError, PluginKind, Request};
use crate::plugin::config::PluginSpec;
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::loaded::Loaded;

/// A field that no plugin has.
const UNKNOWN_FIELD: &str = "no-such-field";

/// An input in a file.
#[derive(Serialize, Deserialize)]
struct Saved<C> {
    kind: PluginKind,
    config: serde_json::Value,
    case: C,
}

pub(super) fn check<S: Subject>(kit: &Kit, request: &Request) -> Result<Report, KitError> {
    let saved = request.input.as_ref().map(|_| read::<S>(request)).transpose()?;
    let spec = request.spec();
    let config =
        request.config.clone().or_else(|| saved.as_ref().map(|saved| saved.config.clone())).unwrap_or_default();
    let spec = PluginSpec { config, ..spec };
    let plugin = match kit.loader.load::<S>(&spec, S::limits(&kit.config)) {
        Ok(plugin) => plugin,
        Err(error) => return Ok(Report::not_loaded(request, Some(S::KIND), &error.to_string())),
    };
    let mut report = begin(request, &plugin);
    let introduction = S::introduction(&plugin);
    let is_introduced = introduction.is_ok();
    report.one("introduction", "what it says of itself is in order", introduction.map_err(told));
    if !is_introduced {
        return Ok(report);
    }
    let groups = match saved {
        Some(Saved { case, .. }) => {
            vec![Group { name: "input", promise: "the input is answered", cases: vec![(file_name(request), case)] }]
        }
        None => {
            report.one("configuration", "an unknown field is refused by name", unknown_field::<S>(kit, &spec));
            S::groups(&plugin, request.seed)?
        }
    };
    judge(request, &plugin, &spec, groups, &mut report)?;
    Ok(report)
}

fn begin<S: Subject>(request: &Request, plugin: &Loaded<S>) -> Report {
    let mut report = Report::new(request, Some(S::KIND));
    let identity = &plugin.identity;
    report.plugin = Some(identity.name.to_string());
    report.version = identity.version.as_ref().map(ToString::to_string);
    report.sha256 = Some(identity.sha256.to_string());
    let imports = plugin.imports();
    let imports = if imports.is_empty() { "nothing".to_owned() } else { imports.join(", ") };
    report.one("loads", "", Ok(format!("a component of world {}; it imports {imports}", S::NAME)));
    report
}

/// Judges every case, and adds a line for each group and each law.
fn judge<S: Subject>(
    request: &Request,
    plugin: &Loaded<S>,
    spec: &PluginSpec,
    groups: Vec<Group<S::Case>>,
    report: &mut Report,
) -> Result<(), KitError> {
    let mut laws: Vec<_> = S::LAWS.iter().map(|law| (*law, CheckLine::new(law.name(), law.promise()))).collect();
    let mut used = None;
    for group in groups {
        let mut line = CheckLine::new(group.name, group.promise);
        for (name, case) in &group.cases {
            line.inputs += 1;
            laws.iter_mut().for_each(|(_, line)| line.inputs += 1);
            for broken in patiently(|| S::judge(plugin, &mut used, case)) {
                let line = match laws.iter_mut().find(|(law, _)| *law == broken.law) {
                    Some((law, line)) if *law != Law::Answers => line,
                    _ => &mut line,
                };
                let input = || serde_json::to_vec_pretty(&Saved { kind: S::KIND, config: spec.config.clone(), case });
                line.broke(request, name, &broken, input)?;
            }
        }
        report.add(line);
    }
    laws.into_iter().for_each(|(_, line)| report.add(line));
    Ok(())
}

/// "Unknown fields must be refused by name."
fn unknown_field<S: Subject>(kit: &Kit, spec: &PluginSpec) -> Result<String, String> {
    let mut config = spec.config.as_object().cloned().unwrap_or_default();
    config.insert(UNKNOWN_FIELD.to_owned(), 1.into());
    let spec = PluginSpec { config: config.into(), ..spec.clone() };
    match kit.loader.load::<S>(&spec, S::limits(&kit.config)).map(drop) {
        Ok(()) => {
            Err(format!("`init` takes a configuration with the field `{UNKNOWN_FIELD}`; refuse it as `invalid-input`"))
        }
        Err(error) => match &error.cause {
            Cause::InvalidInput(text) if text.contains(UNKNOWN_FIELD) => {
                Ok("an unknown field is refused by name".to_owned())
            }
            Cause::InvalidInput(text) => {
                Err(format!("`init` refuses the field `{UNKNOWN_FIELD}`, but does not name it: {text}"))
            }
            _ => Err(told(error)),
        },
    }
}

fn read<S: Subject>(request: &Request) -> Result<Saved<S::Case>, KitError> {
    let path = request.input.clone().unwrap_or_default();
    let bad = |why: String| KitError::Input { path: path.clone(), why };
    let bytes = fs::read(&path).map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("this is no saved input of a {}: {error}", S::KIND.name())))
}

fn file_name(request: &Request) -> String {
    let name = request.input.as_ref().and_then(|input| input.file_name());
    name.map_or_else(|| "input".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn told(error: PluginError) -> String {
    error.to_string()
}
