//! The plugin interface over the plain functions of this crate.
#![allow(unsafe_code, missing_docs, clippy::all, reason = "generated code")]

use crate::answer;

wit_bindgen::generate!({ path: "../../wit", world: "codec-plugin" });

use exports::tiergate::plugin::codec::{self, Claim, Decoded, Rejection, Repair};
use exports::tiergate::plugin::lifecycle::{self, Info, PluginError};
use tiergate::plugin::types::Kind;

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> Info {
        Info { name: crate::NAME.to_owned(), version: crate::VERSION.to_owned() }
    }

    fn init(config: Vec<u8>) -> Result<(), PluginError> {
        crate::check_config(&config).map_err(PluginError::InvalidInput)
    }
}

impl codec::Guest for Plugin {
    fn claims() -> Vec<Claim> {
        let claim = |claim: answer::Claim| Claim {
            pattern: claim.pattern.to_owned(),
            schema: claim.schema.to_owned(),
            schema_version: claim.schema_version.to_owned(),
        };
        crate::claims().into_iter().map(claim).collect()
    }

    fn decode(key: String, payload: Vec<u8>, flags: u32) -> Result<Decoded, Rejection> {
        crate::decode(&key, &payload, flags).map(decoded).map_err(rejection)
    }
}

fn decoded(decoded: answer::Decoded) -> Decoded {
    let kind = match decoded.kind {
        answer::Kind::Placeholder => Kind::Placeholder,
        answer::Kind::Real => Kind::Real,
    };
    let repair =
        |repair: answer::Repair| Repair { code: repair.code.to_owned(), path: repair.path, message: repair.message };
    Decoded {
        canonical: decoded.canonical,
        kind,
        produced_at: decoded.produced_at,
        schema_version: decoded.schema_version,
        repairs: decoded.repairs.into_iter().map(repair).collect(),
    }
}

fn rejection(rejection: answer::Rejection) -> Rejection {
    Rejection { code: rejection.code.to_owned(), message: rejection.message, path: rejection.path }
}

export!(Plugin);
