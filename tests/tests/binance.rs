//! The answer of a public market API, PUT as it came.

use serde_json::Value;
use tiergate_tests::{Gateway, data_file};

const KEY: &str = "binance:ticker-24hr";

#[tokio::test]
async fn a_recorded_ticker_answer_reads_back_as_tickers_by_symbol_and_an_error_of_the_api_leaves_it() {
    let gateway = Gateway::with().start().await;
    let answer = data_file("binance-ticker-24hr-2026-03-10.json");
    let reply = gateway.put(KEY, answer.clone()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let read = gateway.get(&format!("/api/cache/{KEY}")).await;
    assert_eq!(read.header("tiergate-schema"), "market-tickers");
    let tickers = read.json();
    assert_eq!(tickers.as_object().map(serde_json::Map::len), Some(100));
    let rows: Vec<Value> = serde_json::from_slice(&answer).unwrap();
    for row in rows {
        let symbol = row["symbol"].as_str().unwrap();
        let number = |field: &str| row[field].as_str().unwrap().parse::<f64>().unwrap();
        assert_eq!(tickers[symbol]["price"], number("lastPrice"), "{symbol}");
    }

    let refused = gateway.put(KEY, r#"{"code": -1003, "msg": "Too much request weight used"}"#).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(
        refused.text().contains("-1003") && refused.text().contains("Too much request weight"),
        "{}",
        refused.text()
    );
    assert_eq!(gateway.get(&format!("/api/cache/{KEY}")).await.body, read.body, "the old value stays");
}
