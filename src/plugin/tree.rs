//! `status`: a service, its revisions, their pods, and what is found about them, as a tree.

use jiff::Timestamp;

use super::page::{Line, Page, Place, Signs, Span, Tone, columns, duration};
use super::pods::PodLine;
use super::reading::{self, Sight, Standing};
use crate::api::{
    CanaryStep, CheckStatus, CheckVerdict, Microservice, MicroserviceStatus, Pause, RevisionStatus, Role,
    Router, StrategyType,
};

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What is needed.
    #[default]
    Usual,
    /// Also nodes, digests, and what changed.
    Wide,
}

/// The pods of a service, as far as they can be known.
#[derive(Clone, Debug, PartialEq)]
pub enum Pods {
    /// These.
    Known(Vec<PodLine>),
    /// They could not be read: why.
    Unknown(String),
}

/// What a status page is made from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The service.
    pub service: &'a Microservice,
    /// Its pods.
    pub pods: &'a Pods,
    /// The time.
    pub now: Timestamp,
    /// How much is told.
    pub detail: Detail,
}

/// A node of the tree: its cells, and what hangs on it.
struct Branch {
    cells: Vec<Span>,
    below: Vec<Branch>,
}

/// The page.
pub fn tree(scene: &Scene<'_>, signs: Signs) -> Page {
    let status = reading::status(scene.service);
    let mut lines = head(scene, &status);
    let mut branches: Vec<Branch> = revisions(scene, &status);
    branches.extend(checks(&status));
    branches.extend(conditions(&status));
    if !branches.is_empty() {
        lines.push(Line::default());
        lines.extend(grown(branches, signs));
    }
    Page(lines)
}

fn head(scene: &Scene<'_>, status: &MicroserviceStatus) -> Vec<Line> {
    let service = scene.service;
    let title = format!("{}/{}", reading::namespace(service), reading::name(service));
    // What was said of another spec is no news of this one.
    let phase = match reading::sight(service) {
        Sight::Current => status.phase,
        Sight::Behind(_) => None,
    };
    let mut lines = vec![Line(vec![
        Span::plain("Microservice "),
        Span::new(Tone::Strong, title),
        Span::plain("  "),
        Span::new(reading::phase_tone(phase), reading::phase(phase)),
    ])];
    if let Some(message) = &status.message {
        lines.push(Line::plain(format!("  {message}")));
    }
    if let Sight::Behind(seen) = reading::sight(service) {
        let text = format!("  {}", reading::unseen(service, seen));
        lines.push(Line(vec![Span::new(Tone::Waiting, text)]));
    }
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| {
        rows.push(vec![
            Span::new(Tone::Dim, format!("  {name}")),
            Span::plain(value),
        ]);
    };
    row("strategy", strategy(service));
    if let Standing::UnderWay(rollout, _) | Standing::Returning(rollout) = reading::standing(service) {
        row(
            "weight",
            format!(
                "{} % asked for, {} % in force",
                rollout.weight, rollout.effective_weight
            ),
        );
    }
    if status.ready.is_some() {
        row(
            "pods",
            format!(
                "{} ready of {} wanted",
                status.ready_replicas, status.desired_replicas
            ),
        );
    }
    if let Some(rollout) = &status.rollout {
        if let Some(waiting) = &rollout.waiting_for {
            row("waits for", waiting.clone());
        }
        if let Some(deadline) = &rollout.deadline {
            let left = deadline.0.duration_since(scene.now).as_secs();
            row(
                "taken back",
                format!("in {} unless there is progress", duration(left)),
            );
        }
        if let Some(at) = &rollout.retry_at {
            let left = at.0.duration_since(scene.now).as_secs();
            row("tried again", format!("in {}", duration(left)));
        }
    }
    for url in &status.urls {
        row("url", url.clone());
    }
    lines.extend(columns(rows));
    lines
}

/// The strategy, and where in it the service is.
fn strategy(service: &Microservice) -> String {
    let strategy = service.spec.operation.strategy();
    let mut words = reading::strategy(strategy.strategy_type()).to_owned();
    let router = match strategy.router() {
        Router::Auto => None,
        Router::Service => Some("Service"),
        Router::Gateway => Some("Gateway"),
        Router::Istio => Some("Istio"),
        Router::IngressNginx => Some("IngressNginx"),
    };
    if let Some(router) = router {
        words.push_str(" by ");
        words.push_str(router);
    }
    let Standing::UnderWay(rollout, _) = reading::standing(service) else {
        return words;
    };
    let (Some(step), Some(of)) = (rollout.step, rollout.of) else {
        return format!("{words}, {:?}", rollout.state);
    };
    words.push_str(&format!(", step {step} of {of}"));
    let steps = strategy.canary.as_ref().map(|canary| canary.steps.as_slice());
    let number = usize::try_from(step).unwrap_or(0);
    let present = steps.and_then(|steps| steps.get(number.checked_sub(1)?));
    match (strategy.strategy_type(), present) {
        (StrategyType::Canary, Some(step)) => format!("{words}: {}", step_words(step)),
        _ => words,
    }
}

fn step_words(step: &CanaryStep) -> String {
    let mut words = Vec::new();
    words.extend(step.weight.map(|weight| format!("weight {weight} %")));
    if !step.matches.is_empty() {
        words.push("matching requests".to_owned());
    }
    words.extend(step.mirror_percent.map(|percent| format!("mirror {percent} %")));
    words.extend(step.replicas.map(|replicas| format!("{replicas} pods")));
    words.extend(step.hooks.iter().map(|hook| format!("hook {}", hook.name)));
    words.extend(step.duration_seconds.map(|seconds| duration(seconds.into())));
    words.extend(step.pause.map(|Pause::Manual| "then a person".to_owned()));
    words.join(", ")
}

fn revisions(scene: &Scene<'_>, status: &MicroserviceStatus) -> Vec<Branch> {
    let known = match scene.pods {
        Pods::Known(pods) => pods.as_slice(),
        Pods::Unknown(_) => &[],
    };
    let has_pods = |revision: &RevisionStatus| known.iter().any(|pod| pod.revision == revision.name);
    let mut branches: Vec<Branch> = status
        .revisions
        .iter()
        .filter(|revision| revision.role.is_some() || revision.replicas > 0 || has_pods(revision))
        .map(|revision| self::revision(scene, revision, known))
        .collect();
    let is_told = |pod: &&PodLine| status.revisions.iter().any(|r| r.name == pod.revision);
    let stray: Vec<&PodLine> = known.iter().filter(|pod| !is_told(pod)).collect();
    if !stray.is_empty() {
        branches.push(Branch {
            cells: vec![Span::plain("pods of no revision in the status")],
            below: stray.into_iter().map(|pod| self::pod(scene, pod)).collect(),
        });
    }
    if let Pods::Unknown(why) = scene.pods {
        branches.push(Branch {
            cells: vec![Span::new(Tone::Dim, format!("pods are not shown: {why}"))],
            below: Vec::new(),
        });
    }
    branches
}

fn revision(scene: &Scene<'_>, revision: &RevisionStatus, pods: &[PodLine]) -> Branch {
    let (role, tone) = match revision.role {
        Some(Role::Stable) => ("Stable", Tone::Good),
        Some(Role::Candidate) => ("Candidate", Tone::Busy),
        Some(Role::Previous) => ("Previous", Tone::Dim),
        None => ("", Tone::Plain),
    };
    let full = revision.ready == revision.replicas;
    let mut cells = vec![
        Span::new(Tone::Strong, &revision.name),
        Span::new(tone, role),
        Span::new(
            if full { Tone::Plain } else { Tone::Busy },
            format!("{}/{} pods", revision.ready, revision.replicas),
        ),
        Span::plain(format!("{} %", revision.weight)),
        Span::plain(&revision.image),
    ];
    if scene.detail == Detail::Wide {
        cells.push(Span::new(Tone::Dim, revision.image_ids.join(" ")));
        cells.push(Span::new(
            Tone::Dim,
            revision.changes.as_deref().unwrap_or_default(),
        ));
    }
    let mut below: Vec<Branch> = Vec::new();
    if let Some(verdict) = &revision.rejected {
        let text = format!("rejected: {}: {}", verdict.reason, verdict.message);
        below.push(Branch {
            cells: vec![Span::new(Tone::Bad, text)],
            below: Vec::new(),
        });
    }
    let mine = pods.iter().filter(|pod| pod.revision == revision.name);
    below.extend(mine.map(|pod| self::pod(scene, pod)));
    Branch { cells, below }
}

fn pod(scene: &Scene<'_>, pod: &PodLine) -> Branch {
    let age = pod.created.map_or(String::new(), |created| {
        duration(scene.now.duration_since(created).as_secs())
    });
    let tone = if pod.restarts > 0 {
        Tone::Waiting
    } else {
        Tone::Dim
    };
    let mut cells = vec![
        Span::plain(&pod.name),
        Span::new(pod.tone, &pod.words),
        Span::plain(format!("{}/{}", pod.ready, pod.containers)),
        Span::new(tone, format!("{} restarts", pod.restarts)),
        Span::new(Tone::Dim, age),
    ];
    if scene.detail == Detail::Wide {
        cells.push(Span::new(Tone::Dim, pod.node.as_deref().unwrap_or_default()));
    }
    Branch {
        cells,
        below: Vec::new(),
    }
}

fn checks(status: &MicroserviceStatus) -> Option<Branch> {
    let checks = status.rollout.as_ref().map(|rollout| rollout.checks.as_slice())?;
    (!checks.is_empty()).then(|| Branch {
        cells: vec![Span::new(Tone::Strong, "checks")],
        below: checks.iter().map(check).collect(),
    })
}

fn check(check: &CheckStatus) -> Branch {
    let (verdict, tone) = verdict(check.verdict);
    let share = |share: &Option<String>| {
        share
            .as_ref()
            .map_or("-".to_owned(), |share| format!("{share} %"))
    };
    let mut cells = vec![Span::plain(&check.name), Span::new(tone, verdict)];
    if check.value.is_some() || check.baseline.is_some() {
        cells.extend([
            Span::plain(format!("{} bad", share(&check.value))),
            Span::plain(format!("{} of stable", share(&check.baseline))),
            Span::new(Tone::Dim, format!("{} requests", check.samples)),
        ]);
    }
    cells.push(Span::new(Tone::Dim, &check.reason));
    Branch {
        cells,
        below: Vec::new(),
    }
}

/// A verdict in a word, and its tone.
pub fn verdict(verdict: CheckVerdict) -> (&'static str, Tone) {
    match verdict {
        CheckVerdict::Passing => ("Passing", Tone::Good),
        CheckVerdict::Failing => ("Failing", Tone::Bad),
        CheckVerdict::Inconclusive => ("Inconclusive", Tone::Waiting),
    }
}

fn conditions(status: &MicroserviceStatus) -> Option<Branch> {
    let troubles = reading::troubles(status);
    let below: Vec<Branch> = troubles
        .into_iter()
        .map(|condition| Branch {
            cells: vec![
                Span::plain(&condition.type_),
                Span::plain(&condition.status),
                Span::new(Tone::Waiting, &condition.reason),
                Span::plain(&condition.message),
            ],
            below: Vec::new(),
        })
        .collect();
    (!below.is_empty()).then(|| Branch {
        cells: vec![Span::new(Tone::Strong, "conditions")],
        below,
    })
}

/// The lines of branches: the cells of those beside each other stand in columns.
fn grown(branches: Vec<Branch>, signs: Signs) -> Vec<Line> {
    let count = branches.len();
    let (cells, below): (Vec<_>, Vec<_>) = branches.into_iter().map(|b| (b.cells, b.below)).unzip();
    let mut lines = Vec::new();
    for (index, (line, below)) in columns(cells).into_iter().zip(below).enumerate() {
        let place = Place::of(index, count);
        lines.push(before(signs.branch(place), line));
        let inner = grown(below, signs);
        lines.extend(inner.into_iter().map(|line| before(signs.below(place), line)));
    }
    lines
}

fn before(sign: &str, line: Line) -> Line {
    let mut spans = vec![Span::new(Tone::Dim, sign)];
    spans.extend(line.0);
    Line(spans)
}
