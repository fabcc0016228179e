use super::*;

const BOUNDS: Autoscaling = Autoscaling {
    min_replicas: 2,
    max_replicas: 10,
    cpu: Some(50),
    memory: None,
    metrics: Vec::new(),
    behavior: None,
};

fn manifest() -> ReplicasHolder {
    ReplicasHolder::Manifest {
        manager: "argocd-controller".to_owned(),
    }
}

fn is(wanted: i32, source: ReplicasSource) -> Scaling {
    Scaling {
        wanted,
        source: Some(source),
        write_back: None,
    }
}

#[test]
fn what_comes_through_scale_is_a_target_within_the_bounds() {
    for (replicas, wanted) in [(1, 2), (4, 4), (99, 10), (0, 0)] {
        let found = judge(
            replicas,
            &ReplicasHolder::Scale,
            Some(ReplicasSource::Manifest),
            7,
            &BOUNDS,
        );
        assert_eq!(found, is(wanted, ReplicasSource::Scale));
    }
}

#[test]
fn a_first_creation_starts_with_the_manifests_value_within_the_bounds() {
    for holder in [manifest(), ReplicasHolder::Nobody] {
        assert_eq!(
            judge(1, &holder, None, 0, &BOUNDS),
            is(2, ReplicasSource::Manifest)
        );
    }
    assert_eq!(
        judge(5, &manifest(), None, 0, &BOUNDS),
        is(5, ReplicasSource::Manifest)
    );
}

#[test]
fn a_manifest_is_a_floor_at_most() {
    let before = Some(ReplicasSource::Scale);
    assert_eq!(
        judge(8, &manifest(), before, 6, &BOUNDS),
        is(8, ReplicasSource::Manifest)
    );
    assert_eq!(
        judge(6, &manifest(), before, 6, &BOUNDS),
        is(6, ReplicasSource::Manifest)
    );
    assert_eq!(judge(3, &manifest(), before, 6, &BOUNDS), hold(6));
    // The bounds are the team's word in any case.
    let narrow = Autoscaling {
        max_replicas: 4,
        ..BOUNDS
    };
    assert_eq!(judge(3, &manifest(), before, 6, &narrow), hold(4));
}

#[test]
fn it_is_written_back_once_until_the_autoscaler_writes() {
    let mut before = Some(ReplicasSource::Scale);
    let mut see = |replicas, holder: &ReplicasHolder| {
        let found = judge(replicas, holder, before, 6, &BOUNDS);
        before = found.source;
        found
    };
    assert_eq!(see(3, &manifest()), hold(6));
    assert_eq!(see(3, &manifest()), hold(6), "as long as it was not done");
    assert_eq!(
        see(6, &ReplicasHolder::Operator),
        is(6, ReplicasSource::WrittenBack)
    );
    assert_eq!(see(3, &manifest()), is(6, ReplicasSource::Contested));
    assert_eq!(see(4, &manifest()), is(6, ReplicasSource::Contested));
    assert_eq!(see(6, &ReplicasHolder::Scale), is(6, ReplicasSource::Scale));
    assert_eq!(see(3, &manifest()), hold(6));
}

#[test]
fn a_field_that_was_taken_out_is_not_a_wish_for_one_pod() {
    for before in [
        ReplicasSource::Manifest,
        ReplicasSource::Scale,
        ReplicasSource::Contested,
    ] {
        assert_eq!(
            judge(1, &ReplicasHolder::Nobody, Some(before), 6, &BOUNDS),
            hold(6)
        );
    }
    assert_eq!(
        judge(6, &ReplicasHolder::Nobody, Some(ReplicasSource::Held), 6, &BOUNDS),
        is(6, ReplicasSource::Untracked)
    );
    // Autoscaling is turned on in the change that takes replicas out.
    assert_eq!(judge(1, &ReplicasHolder::Nobody, None, 6, &BOUNDS), hold(6));
}

#[test]
fn a_scale_that_is_on_nobodys_record_is_a_target_also_down_to_the_default() {
    let one = Autoscaling {
        min_replicas: 1,
        ..BOUNDS
    };
    let up = judge(
        6,
        &ReplicasHolder::Nobody,
        Some(ReplicasSource::Manifest),
        1,
        &one,
    );
    assert_eq!(up, is(6, ReplicasSource::Untracked));
    assert_eq!(
        judge(1, &ReplicasHolder::Nobody, up.source, 6, &one),
        is(1, ReplicasSource::Untracked)
    );
}

#[test]
fn an_autoscaler_that_lifts_a_manifests_number_to_its_bound_has_not_decided_on_it() {
    for holder in [ReplicasHolder::Scale, ReplicasHolder::Nobody] {
        for before in [ReplicasSource::Held, ReplicasSource::Contested] {
            assert_eq!(judge(2, &holder, Some(before), 6, &BOUNDS), hold(6));
        }
    }
    let decided = judge(
        2,
        &ReplicasHolder::Scale,
        Some(ReplicasSource::WrittenBack),
        6,
        &BOUNDS,
    );
    assert_eq!(decided, is(2, ReplicasSource::Scale));
    let more = judge(
        3,
        &ReplicasHolder::Scale,
        Some(ReplicasSource::Contested),
        6,
        &BOUNDS,
    );
    assert_eq!(more, is(3, ReplicasSource::Scale));
}

#[test]
fn zero_stops_whoever_says_it_and_is_no_floor_afterwards() {
    for holder in [
        manifest(),
        ReplicasHolder::Nobody,
        ReplicasHolder::Scale,
        ReplicasHolder::Operator,
    ] {
        let stopped = judge(0, &holder, Some(ReplicasSource::Scale), 6, &BOUNDS);
        assert_eq!((stopped.wanted, stopped.write_back), (0, None));
        let started = judge(3, &manifest(), stopped.source, 0, &BOUNDS);
        assert_eq!(started, is(3, ReplicasSource::Manifest));
    }
}
