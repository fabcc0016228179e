//! A change goes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::status::StatusExt;
use e2e::{podinfo, scenario};
use serde_json::json;

#[test]
fn rolling_update_under_load_fails_no_request() {
    scenario("rolling").real_pods().run(async |s| {
        let first = podinfo("web", "1.0.0").spec(json!({"replicas": 3}));
        let stable = s.deploy(&first).await.stable().unwrap();
        s.assert_served_by("web", "1.0.0").await;
        let load = s.load("web").await;
        let after = s.deploy(&first.version("1.1.0")).await;
        s.assert_served_by("web", "1.1.0").await;
        let tally = load.stop();
        tally.assert_spotless();
        assert_eq!(tally.versions(), ["1.0.0", "1.1.0"]);
        assert_ne!(after.stable().unwrap(), stable);
        println!("measured: rolling: {} requests, none failed", tally.sent());
    });
}
