//! The command line: what a stranger types, and how mistakes are told.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tiergate_tests::{Gateway, binary};

fn tiergate(args: &[&str], dir: &Path) -> Output {
    run(args, dir, b"")
}

fn run(args: &[&str], dir: &Path, input: &[u8]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).current_dir(dir).env("TIERGATE_DATA_DIR", dir.join("data"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tiergate runs");
    child.stdin.take().expect("standard input").write_all(input).expect("written");
    child.wait_with_output().expect("an end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_mistake_is_told_at_once_with_exit_code_2_and_nothing_is_bound() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    std::fs::write(dir.path().join("broken.wasm"), b"no component").unwrap();
    let config = format!(
        "colour = 1\ntiers = [\"gopher://x\"]\n[http]\nlisten = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:0\"\n\
         [plugins]\naggregator = {{ path = \"broken.wasm\" }}\ncodecs = [{{ path = \"absent.wasm\" }}]\n"
    );
    std::fs::write(dir.path().join("tiergate.toml"), config).unwrap();
    let output = tiergate(&[], dir.path());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for culprit in [
        "colour",
        "tiers[0]",
        "http.listen",
        &port.to_string(),
        "broken.wasm",
        "absent.wasm",
        "plugins.aggregator",
        "plugins.codecs[0]",
    ] {
        assert!(told.contains(culprit), "{culprit} is not in {told}");
    }
    let output = tiergate(&["config", "check"], dir.path());
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    std::fs::write(dir.path().join("tiergate.toml"), "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let output = tiergate(&["config", "check"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn wrong_usage_ends_with_exit_code_2_and_help_names_every_command() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(tiergate(&["--dmeo"], dir.path()).status.code(), Some(2));
    let help = text(&tiergate(&["--help"], dir.path()).stdout);
    for word in ["--demo", "--config", "ingest", "cache", "config", "completions", "/mobile"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completions = tiergate(&["completions", shell], dir.path());
        assert!(completions.status.success() && text(&completions.stdout).contains("tiergate"), "{shell}");
    }
}

#[tokio::test]
async fn values_and_signals_go_in_and_out_by_command_line() {
    let gateway = Gateway::with().start().await;
    let (dir, url) = (tempfile::tempdir().unwrap(), format!("http://{}", gateway.data));
    let url = url.as_str();
    let run = |args: Vec<String>, input: Vec<u8>| {
        let dir = dir.path().to_owned();
        tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            run(&args, &dir, &input)
        })
    };
    let words =
        |line: &str| line.split(' ').map(str::to_owned).chain(["--url".to_owned(), url.to_owned()]).collect::<Vec<_>>();
    let output = run(words("cache put k {\"a\":1} --ttl 5m"), Vec::new()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("\"disk\""), "{}", text(&output.stdout));
    let output = run(words("cache get k"), Vec::new()).await.unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "{\"a\":1}\n"));
    assert!(text(&output.stderr).contains("tiergate; hit"), "{}", text(&output.stderr));
    assert_eq!(run(words("cache delete k"), Vec::new()).await.unwrap().status.code(), Some(0));
    assert_eq!(run(words("cache get k"), Vec::new()).await.unwrap().status.code(), Some(3));
    assert_eq!(run(words("cache put k nonsense"), Vec::new()).await.unwrap().status.code(), Some(3));

    let lines = b"{\"symbol\":\"A\",\"confluence_score\":50}\n{\"symbol\":\"B\",\"confluence_score\":null}\n".to_vec();
    let output = run(words("ingest -"), lines).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "one signal is bad: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains("1 accepted, 1 rejected"), "{}", text(&output.stderr));
    std::fs::write(dir.path().join("signals.json"), br#"[{"symbol":"C","confluence_score":50}]"#).unwrap();
    let output = run(words("ingest signals.json"), Vec::new()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let nobody = vec!["cache".into(), "get".into(), "k".into(), "--url".into(), "http://127.0.0.1:1".into()];
    let output = run(nobody, Vec::new()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is the gateway running there"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn ingest_draws_a_progress_bar_on_a_terminal_and_none_elsewhere() {
    let gateway = Gateway::with().start().await;
    let dir = tempfile::tempdir().unwrap();
    let line = |n: u32| format!("{{\"symbol\":\"S{}USDT\",\"confluence_score\":50}}\n", n % 100);
    std::fs::write(dir.path().join("signals.ndjson"), (0..20_000).map(line).collect::<String>()).unwrap();
    let ingest = format!("'{}' ingest signals.ndjson --url http://{}", binary().display(), gateway.data);
    let shell = async |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir.path()).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stdout));
        text(&output.stdout) + &text(&output.stderr)
    };
    assert_eq!(shell("sh", &["-c", &ingest]).await, "20000 accepted, 0 rejected\n");
    // `script` runs a command on a terminal of its own.
    let shown = shell("script", &["-qec", &ingest, "/dev/null"]).await;
    assert!(shown.contains("iB/") && shown.contains("20000 accepted, 0 rejected"), "{shown:?}");
}
