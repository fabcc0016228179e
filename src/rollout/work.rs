//! Work beside the pods: Jobs before a revision gets pods, and the hooks of steps. What is to be begun, and how it
//! stands.

use super::draft::Draft;
use super::observed::CallOutcome;
use super::plan::{Call, CallSubject};
use super::state::{Change, Course, Position, Stage, State};
use super::stepping;
use crate::api::{Blame, Hook, JobTemplate, PreDeploy, Webhook};
use crate::health::{Fault, JobOutcome};
use crate::render::{self, Child, Identity, JobPurpose, job_name};
use crate::revision::{PreDeployed, Record};

/// The reason of a fault where a Job before the first pod failed.
const PRE_DEPLOY_FAILED: &str = "PreDeployFailed";
/// The reason of a fault where a hook failed.
const HOOK_FAILED: &str = "HookFailed";

/// How work stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkStanding {
    /// All of it has succeeded, or there is none.
    Done,
    /// Some of it is under way, or about to be.
    Running(String),
    /// Some of it failed.
    Failed(Fault),
}

/// A piece of work.
enum Item<'a> {
    Job {
        name: &'a str,
        template: &'a JobTemplate,
        purpose: JobPurpose<'a>,
    },
    Call {
        hook: &'a str,
        webhook: &'a Webhook,
        subject: CallSubject<'a>,
    },
}

/// How one piece stands; `None`: it has not begun.
enum ItemStanding {
    Running(Option<String>),
    Succeeded,
    Failed(Fault),
}

impl Item<'_> {
    fn words(&self) -> String {
        match self {
            Self::Job { name, .. } => format!("Job {name}"),
            Self::Call { hook, .. } => format!("webhook {hook}"),
        }
    }

    fn standing(&self, draft: &Draft<'_>, revision: &str) -> Option<ItemStanding> {
        match self {
            Self::Job { name, purpose, .. } => {
                let view = draft.observed.jobs.get(&job_name(revision, name, *purpose))?;
                Some(match &view.outcome {
                    JobOutcome::Running => ItemStanding::Running(view.words.clone()),
                    JobOutcome::Succeeded => ItemStanding::Succeeded,
                    JobOutcome::Failed(fault) => ItemStanding::Failed(fault.clone()),
                })
            }
            Self::Call { subject, .. } => Some(match draft.observed.calls.get(&subject.key())? {
                CallOutcome::Running => ItemStanding::Running(None),
                CallOutcome::Succeeded => ItemStanding::Succeeded,
                CallOutcome::Failed(message) => ItemStanding::Failed(Fault {
                    blame: Blame::Candidate,
                    reason: HOOK_FAILED.to_owned(),
                    message: message.clone(),
                }),
            }),
        }
    }
}

/// What is to be there so that work goes on.
#[derive(Clone, Debug, Default)]
pub struct WantedWork {
    /// The Job that is next.
    pub job: Option<Child>,
    /// The call that is next.
    pub call: Option<Call>,
}

/// How the Jobs before the first pod of a revision stand.
pub fn pre_deploy(draft: &Draft<'_>, revision: &str) -> WorkStanding {
    let Some(record) = draft.records.get(revision) else {
        return WorkStanding::Done;
    };
    match record.notes.pre_deployed {
        PreDeployed::Succeeded => WorkStanding::Done,
        PreDeployed::No => standing(
            draft,
            revision,
            &pre_deploy_items(draft, record),
            PRE_DEPLOY_FAILED,
        ),
    }
}

/// How the hooks of the present step stand.
pub fn hooks(draft: &Draft<'_>, change: &Change) -> WorkStanding {
    let Course::Steps(position) = &change.course else {
        return WorkStanding::Done;
    };
    if position.hooks_passed_at.is_some() {
        return WorkStanding::Done;
    }
    let hooks = stepping::goal(draft, position).hooks;
    standing(
        draft,
        &change.candidate,
        &hook_items(draft, change, position, &hooks),
        HOOK_FAILED,
    )
}

/// The work that is to be begun or kept up now.
pub fn wanted(draft: &Draft<'_>) -> WantedWork {
    let none = WantedWork::default();
    let candidate = match &draft.situation.state {
        State::Starting { candidate, .. } => candidate,
        State::Rolling(change) => &change.candidate,
        State::Fresh
        | State::Steady { .. }
        | State::Promoting(_)
        | State::Baking(_)
        | State::Returning(_) => {
            return none;
        }
    };
    if draft.suspended() || draft.paused() || draft.wanted() == 0 {
        return none;
    }
    let Some(record) = draft.records.get(candidate) else {
        return none;
    };
    if record.notes.pre_deployed == PreDeployed::No && !record.data.input.spec.pre_deploy.is_empty() {
        return next(draft, record, &pre_deploy_items(draft, record));
    }
    if let State::Rolling(change) = &draft.situation.state
        && let Course::Steps(position) = &change.course
        && stepping::hooks_are_due(draft, change, position)
    {
        let hooks = stepping::goal(draft, position).hooks;
        return next(draft, record, &hook_items(draft, change, position, &hooks));
    }
    none
}

/// Whether a call that is under way or has ended belongs to the step that is under way.
pub fn keeps_call(draft: &Draft<'_>, key: &str) -> bool {
    let State::Rolling(change) = &draft.situation.state else {
        return false;
    };
    let Course::Steps(Position {
        stage: Stage::Step { number, digest },
        ..
    }) = &change.course
    else {
        return false;
    };
    let step = draft.named(&change.candidate).step_value(*number);
    key.starts_with(&format!("{step}/{digest}/"))
}

fn pre_deploy_items<'a>(draft: &Draft<'_>, record: &'a Record) -> Vec<Item<'a>> {
    let trial = draft.situation.trial;
    let item = |PreDeploy { name, job }: &'a PreDeploy| Item::Job {
        name,
        template: job,
        purpose: JobPurpose::PreDeploy { trial },
    };
    record.data.input.spec.pre_deploy.iter().map(item).collect()
}

fn hook_items<'a>(
    draft: &'a Draft<'_>,
    change: &'a Change,
    position: &'a Position,
    hooks: &'a [Hook],
) -> Vec<Item<'a>> {
    let Stage::Step { number, digest } = &position.stage else {
        return Vec::new();
    };
    let step = *number;
    let trial = draft.situation.trial;
    let item = |hook: &'a Hook| {
        let job = hook.job.as_ref().map(|template| Item::Job {
            name: &hook.name,
            template,
            purpose: JobPurpose::Hook {
                trial,
                step,
                goal: digest,
                stable: &change.stable,
            },
        });
        job.or_else(|| {
            Some(Item::Call {
                hook: &hook.name,
                webhook: hook.webhook.as_ref()?,
                subject: CallSubject {
                    service: draft.observed.name(),
                    namespace: draft.observed.namespace(),
                    revision: &change.candidate,
                    stable: &change.stable,
                    trial,
                    step,
                    step_digest: digest,
                    hook: &hook.name,
                },
            })
        })
    };
    hooks.iter().filter_map(item).collect()
}

/// One after the other: what comes first speaks for all.
fn standing(draft: &Draft<'_>, revision: &str, items: &[Item<'_>], reason: &str) -> WorkStanding {
    for item in items {
        let words = item.words();
        match item.standing(draft, revision) {
            Some(ItemStanding::Succeeded) => {}
            Some(ItemStanding::Failed(fault)) => {
                return WorkStanding::Failed(Fault {
                    blame: fault.blame,
                    reason: reason.to_owned(),
                    message: format!("{words}: {}", fault.message),
                });
            }
            Some(ItemStanding::Running(Some(trouble))) => {
                return WorkStanding::Running(format!("{words}: {trouble}"));
            }
            Some(ItemStanding::Running(None)) | None => {
                return WorkStanding::Running(format!("{words} to succeed"));
            }
        }
    }
    WorkStanding::Done
}

fn next(draft: &Draft<'_>, record: &Record, items: &[Item<'_>]) -> WantedWork {
    let succeeded =
        |item: &&Item<'_>| matches!(item.standing(draft, &record.name), Some(ItemStanding::Succeeded));
    let identity = Identity::of(&draft.observed.service, draft.observed.namespace());
    match items.iter().find(|item| !succeeded(item)) {
        Some(Item::Job {
            name,
            template,
            purpose,
        }) => WantedWork {
            job: Some(render::job(&identity, record, name, template, *purpose)),
            call: None,
        },
        Some(Item::Call { webhook, subject, .. }) => WantedWork {
            job: None,
            call: Some(Call::new((*webhook).clone(), subject)),
        },
        None => WantedWork::default(),
    }
}
