//! A Microservice in a chart, delivered by Helm 4: `--wait` returns when the rollout is over, and fails when it was taken back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::time::Instant;

use e2e::environment::{cluster_dir, say};
use e2e::helm::Helm;
use e2e::kubectl::Said;
use e2e::status::StatusExt;
use e2e::{Scenario, patience, podinfo, scenario};
use serde_json::json;

/// A chart with one Microservice, which goes with the value.
struct Chart<'a> {
    s: &'a Scenario,
    directory: PathBuf,
}

impl<'a> Chart<'a> {
    fn write(s: &'a Scenario) -> Self {
        let directory = cluster_dir().join(format!("chart-{}", s.namespace));
        let service = podinfo("web", "{{ .Values.version }}").spec(json!({
            "replicas": 2,
            "command": ["./podinfo", "--port={{ .Values.port }}"],
            "strategy": {"drainSeconds": 1},
        }));
        let description = json!({"apiVersion": "v2", "name": "web", "version": "0.1.0"});
        let values = json!({"version": "1.0.0", "port": 9898});
        std::fs::create_dir_all(directory.join("templates")).unwrap();
        for (file, content) in [
            ("Chart.yaml", description.to_string()),
            ("values.yaml", values.to_string()),
            ("templates/web.yaml", service.text()),
        ] {
            std::fs::write(directory.join(file), content).unwrap();
        }
        Self { s, directory }
    }

    async fn helm(&self, words: &str, arguments: &[&str]) -> Said {
        let timeout = format!("--timeout={}s", patience().as_secs());
        let place = ["--namespace", self.s.namespace.as_str(), "--wait", &timeout];
        let began = Instant::now();
        // The requests under way go on meanwhile.
        let said = tokio::task::block_in_place(|| Helm::Four.run(&[arguments, &place].concat(), None));
        let took = began.elapsed().as_secs_f64();
        say(&format!("helm: {words}: returned after {took:.1} s"));
        said
    }

    async fn upgrade(&self, words: &str, values: &[&str]) -> Said {
        let chart = self.directory.to_str().unwrap();
        let arguments = [&["upgrade", "--install", "web", chart], values].concat();
        self.helm(words, &arguments).await
    }
}

impl Drop for Chart<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Panics unless the rollout is over at this moment: nothing is waited for here.
async fn assert_rolled_out(s: &Scenario, generation: i64) -> String {
    let now = s.service("web").await;
    assert_eq!(now.metadata.generation, Some(generation));
    let condition = now.condition("RolledOut").unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.observed_generation),
        ("True", Some(generation)),
        "{condition:?}"
    );
    assert!(now.is_healthy(), "{:?}", now.said());
    now.stable().unwrap()
}

#[test]
fn helm_waits_for_the_rollout_and_fails_with_it() {
    scenario("helm").real_pods().run(async |s| {
        let chart = Chart::write(s);
        chart.upgrade("the first revision", &[]).await.ok();
        assert_rolled_out(s, 1).await;

        let load = s.load("web").await;
        let good = ["--set=version=1.1.0"];
        chart.upgrade("a release", &good).await.ok();
        let stable = assert_rolled_out(s, 2).await;
        s.assert_served_by("web", "1.1.0").await;

        let broken = ["--set=version=2.0.0", "--set=port=99999"];
        let complaint = chart.upgrade("a release that crashes", &broken).await.refused();
        assert!(
            complaint.contains("Microservice/") && complaint.contains("Failed"),
            "{complaint}"
        );
        let now = s.service("web").await;
        assert_eq!(now.metadata.generation, Some(3));
        assert_eq!(
            now.condition("Stalled").unwrap().status,
            "True",
            "{:?}",
            now.said()
        );
        let after = s.taken_back("web").await;
        assert_eq!(after.stable().as_deref(), Some(stable.as_str()));
        s.assert_served_by("web", "1.1.0").await;

        let back = ["rollback", "web", "2"];
        chart.helm("the way back to what runs", &back).await.ok();
        assert_eq!(assert_rolled_out(s, 4).await, stable);
        let tally = load.stop();
        tally.assert_spotless();
        assert!(!tally.versions().contains(&"2.0.0"));
        say(&format!("helm: {} requests, none failed", tally.sent()));
    });
}
