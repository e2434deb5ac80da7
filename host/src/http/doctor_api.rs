//! `GET /api/admin/doctor`: what is wrong with this gateway and the tiers below it, now.
//!
//! `GET /api/admin/doctor/canary/{gateway}` tells what this gateway sees of the canary that the gateway of this name wrote:
//! whether the two share their tiers. `GET /api/admin/doctor/served/{seed}` tells what this gateway serves of a sample of the
//! dashboard's documents, which is the same in every gateway for the same seed: whether they serve the same.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::App;
use super::respond::{self, Answer, Refusal};

pub(super) const PATH: &str = "/api/admin/doctor";

const CANARY: &str = "/canary/";

const SERVED: &str = "/served/";

/// Answers `GET` of `rest`, which stands after [`PATH`].
pub(super) async fn get(app: &App, rest: &str) -> Result<Answer, Refusal> {
    if rest.is_empty() {
        return Ok(respond::json(StatusCode::OK, &json!(app.doctor.look().await)));
    }
    if let Some(seed) = rest.strip_prefix(SERVED) {
        let no_seed = |_| {
            let message = format!("`{}` is no seed, which is a number of 32 bits", seed.escape_default());
            Refusal::new(StatusCode::BAD_REQUEST, "no-seed", message)
        };
        let seed = seed.parse::<u32>().map_err(no_seed)?;
        return Ok(respond::json(StatusCode::OK, &json!({ "values": app.doctor.served(seed) })));
    }
    let no_route = || {
        let message = format!("there is no route `GET {PATH}{}`", rest.escape_default());
        Refusal::new(StatusCode::NOT_FOUND, "no-route", message)
    };
    let gateway = rest.strip_prefix(CANARY).ok_or_else(no_route)?;
    let no_name = || {
        let message = format!("`{}` is no name of a gateway", gateway.escape_default());
        Refusal::new(StatusCode::BAD_REQUEST, "no-gateway", message)
    };
    let seen = app.doctor.canary_of(gateway).await.ok_or_else(no_name)?;
    let tiers = seen.into_iter().map(|(tier, seen)| {
        let told = match seen {
            Ok(version) => json!({ "version": version }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        (tier.to_string(), told)
    });
    Ok(respond::json(StatusCode::OK, &json!({ "tiers": Value::Object(tiers.collect::<Map<_, _>>()) })))
}
