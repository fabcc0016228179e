use super::*;

const LEASE: u64 = 15;
const RENEW: u64 = 10;
const RETRY: u64 = 2;

/// An API server with one Lease.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    /// Stores a Lease as asked, or refuses it.
    fn write(&mut self, next: Next) -> Result<Lease, Setback> {
        let (mut lease, known) = match next {
            Next::Create(lease) => (*lease, None),
            Next::Replace(lease) => {
                let known = lease.metadata.resource_version.clone();
                assert!(known.is_some(), "a replacement names what it is based on");
                (*lease, known)
            }
            other => panic!("{other:?} is no write"),
        };
        let stored = self.lease.as_ref();
        if stored.and_then(|lease| lease.metadata.resource_version.clone()) != known {
            return Err(Setback::Conflict);
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    fn spec(&self) -> LeaseSpec {
        self.lease.clone().unwrap().spec.unwrap()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the clock on the wall of a machine says; they do not agree.
fn wall(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    wall("2026-01-01T12:00:00Z")
}

fn candidate(identity: &str) -> Election {
    Election::new("operator", identity, Terms::new(15, 10, 2).unwrap())
}

/// One that has taken the Lease at `now`.
fn leader(server: &mut Server, identity: &str, now: u64) -> Election {
    let mut election = candidate(identity);
    election.saw(server.lease.clone(), seconds(now));
    write(&mut election, server, now).unwrap();
    assert_eq!(election.standing(), Standing::Leader);
    election
}

/// Does what is next, which is a write.
fn write(election: &mut Election, server: &mut Server, now: u64) -> Result<(), Setback> {
    match server.write(election.next(seconds(now), noon())) {
        Ok(lease) => {
            election.accepted(lease, seconds(now));
            Ok(())
        }
        Err(setback) => {
            election.failed(setback, seconds(now));
            Err(setback)
        }
    }
}

#[test]
fn the_first_makes_the_lease_and_leads() {
    let mut server = Server::default();
    let mut first = candidate("a");
    assert_eq!(first.next(Duration::ZERO, noon()), Next::Look);
    first.saw(None, Duration::ZERO);
    write(&mut first, &mut server, 1).unwrap();
    assert_eq!(first.standing(), Standing::Leader);
    assert_eq!(first.holder(), Some("a"));
    assert_eq!(
        server.lease.as_ref().unwrap().metadata.name.as_deref(),
        Some("operator")
    );
    let spec = server.spec();
    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
    assert_eq!(spec.lease_duration_seconds, Some(15));
    assert_eq!(spec.lease_transitions, Some(0));
    assert_eq!(spec.acquire_time, Some(MicroTime(noon())));
}

#[test]
fn a_leader_renews_and_keeps_the_time_at_which_it_began() {
    let mut server = Server::default();
    let mut first = leader(&mut server, "a", 1);
    assert_eq!(first.next(seconds(1), noon()), Next::Wait(seconds(1 + RETRY)));
    let later = wall("2026-01-01T12:00:02Z");
    let renewal = first.next(seconds(3), later);
    let lease = server.write(renewal).unwrap();
    first.accepted(lease, seconds(3));
    let spec = server.spec();
    assert_eq!(spec.acquire_time, Some(MicroTime(noon())));
    assert_eq!(spec.renew_time, Some(MicroTime(later)));
    assert_eq!(spec.lease_transitions, Some(0));
    assert_eq!(first.deadline(), Some(seconds(3 + RENEW)));
}

#[test]
fn who_sees_no_renewal_for_the_time_of_the_lease_takes_it_whatever_clocks_say() {
    let mut server = Server::default();
    let _dead = leader(&mut server, "a", 0);
    // By the clock on this wall the Lease has run out years ago; by the next one it is good for years.
    for wall in [wall("2036-01-01T00:00:00Z"), wall("2016-01-01T00:00:00Z")] {
        let mut second = candidate("b");
        second.saw(server.lease.clone(), seconds(100));
        assert_eq!(second.next(seconds(100), wall), Next::Wait(seconds(100 + LEASE)));
        assert_eq!(second.next(seconds(114), wall), Next::Wait(seconds(100 + LEASE)));
        assert!(matches!(second.next(seconds(115), wall), Next::Replace(_)));
    }
    let mut second = candidate("b");
    second.saw(server.lease.clone(), seconds(100));
    write(&mut second, &mut server, 115).unwrap();
    assert_eq!(second.standing(), Standing::Leader);
    assert_eq!(server.spec().lease_transitions, Some(1));
}

#[test]
fn each_renewal_that_is_seen_begins_the_wait_anew_and_other_changes_do_not() {
    let mut server = Server::default();
    let mut first = leader(&mut server, "a", 0);
    let mut second = candidate("b");
    second.saw(server.lease.clone(), seconds(1));
    let renewal = first.next(seconds(2), wall("2026-01-01T12:00:02Z"));
    first.accepted(server.write(renewal).unwrap(), seconds(2));
    second.saw(server.lease.clone(), seconds(3));
    assert_eq!(second.next(seconds(3), noon()), Next::Wait(seconds(3 + LEASE)));
    // A label of somebody.
    let mut labelled = server.lease.clone().unwrap();
    labelled.metadata.labels = Some([("team".to_owned(), "x".to_owned())].into());
    labelled.metadata.resource_version = Some("7".to_owned());
    second.saw(Some(labelled), seconds(9));
    assert_eq!(second.next(seconds(9), noon()), Next::Wait(seconds(3 + LEASE)));
}

#[test]
fn a_leader_without_renewals_has_stopped_before_another_begins() {
    let mut server = Server::default();
    let mut first = leader(&mut server, "a", 100);
    let mut second = candidate("b");
    // The second has seen it as early as it can.
    second.saw(server.lease.clone(), seconds(100));
    for now in 100..(100 + LEASE) {
        let acts = first.standing() == Standing::Leader;
        match first.next(seconds(now), noon()) {
            Next::StepDown => first.stepped_down(),
            Next::Create(_) | Next::Replace(_) => first.failed(Setback::Failure, seconds(now)),
            Next::Wait(_) | Next::Look => {}
        }
        assert_eq!(acts, now <= 100 + RENEW, "at {now}");
        assert!(
            matches!(second.next(seconds(now), noon()), Next::Wait(_)),
            "at {now}"
        );
    }
    assert_eq!(first.standing(), Standing::Standby);
    write(&mut second, &mut server, 100 + LEASE).unwrap();
}

#[test]
fn an_answer_that_took_long_counts_from_when_it_was_asked_for() {
    let mut server = Server::default();
    let mut first = leader(&mut server, "a", 0);
    let renewal = server.write(first.next(seconds(2), noon())).unwrap();
    // It comes at 9.
    first.accepted(renewal, seconds(2));
    assert_eq!(first.deadline(), Some(seconds(2 + RENEW)));
    assert_eq!(first.next(seconds(2 + RENEW), noon()), Next::StepDown);
}

#[test]
fn of_two_that_see_a_free_lease_one_is_refused_and_looks_again() {
    let mut server = Server::default();
    let gone = leader(&mut server, "a", 0);
    server.lease.as_mut().unwrap().spec = gone.released(noon()).unwrap().spec;
    let (mut second, mut third) = (candidate("b"), candidate("c"));
    second.saw(server.lease.clone(), seconds(5));
    third.saw(server.lease.clone(), seconds(5));
    write(&mut second, &mut server, 5).unwrap();
    assert_eq!(write(&mut third, &mut server, 5), Err(Setback::Conflict));
    assert_eq!(third.standing(), Standing::Standby);
    assert_eq!(third.next(seconds(5), noon()), Next::Look);
    third.saw(server.lease.clone(), seconds(6));
    assert_eq!(third.next(seconds(6), noon()), Next::Wait(seconds(6 + LEASE)));
}

#[test]
fn a_lease_that_was_released_is_taken_at_once() {
    let mut server = Server::default();
    let first = leader(&mut server, "a", 0);
    let mut second = candidate("b");
    second.saw(server.lease.clone(), seconds(1));
    let released = first.released(noon()).unwrap();
    assert_eq!(
        second.released(noon()),
        None,
        "who does not lead has nothing to release"
    );
    server.write(Next::Replace(Box::new(released))).unwrap();
    second.saw(server.lease.clone(), seconds(2));
    assert_eq!(second.holder(), None);
    write(&mut second, &mut server, 2).unwrap();
    assert_eq!(server.spec().lease_transitions, Some(1));
}

#[test]
fn a_leader_stops_when_it_sees_another_one_and_not_for_what_was_before() {
    let mut server = Server::default();
    let _gone = leader(&mut server, "a", 0);
    let old = server.lease.clone();
    let mut second = candidate("b");
    second.saw(old.clone(), seconds(0));
    write(&mut second, &mut server, LEASE).unwrap();
    // The watch is behind.
    second.saw(old, seconds(16));
    assert_eq!(second.standing(), Standing::Leader);
    let mut third = candidate("c");
    third.saw(server.lease.clone(), seconds(16));
    write(&mut third, &mut server, 16 + LEASE).unwrap();
    second.saw(server.lease.clone(), seconds(32));
    assert_eq!(second.standing(), Standing::Standby);
}

#[test]
fn who_is_refused_as_leader_looks_and_goes_on_only_where_it_still_holds_the_lease() {
    let mut server = Server::default();
    let mut first = leader(&mut server, "a", 0);
    // Its renewal was stored, and the answer was lost.
    let _lost = server.write(first.next(seconds(2), noon())).unwrap();
    first.failed(Setback::Failure, seconds(4));
    assert_eq!(write(&mut first, &mut server, 6), Err(Setback::Conflict));
    assert_eq!(first.standing(), Standing::Leader, "until its deadline");
    assert_eq!(first.next(seconds(6), noon()), Next::Look);
    first.saw(server.lease.clone(), seconds(6));
    write(&mut first, &mut server, 6).unwrap();
    assert_eq!(first.deadline(), Some(seconds(6 + RENEW)));
}

#[test]
fn a_lease_that_somebody_deleted_is_made_again_by_its_leader() {
    let mut server = Server::default();
    let mut first = leader(&mut server, "a", 0);
    server.lease = None;
    first.saw(None, seconds(1));
    assert_eq!(first.standing(), Standing::Leader);
    assert!(matches!(first.next(seconds(2), noon()), Next::Create(_)));
    write(&mut first, &mut server, 2).unwrap();
    assert_eq!(first.deadline(), Some(seconds(2 + RENEW)));
}

#[test]
fn a_failure_is_tried_again_after_a_pause_and_not_past_the_deadline() {
    let mut server = Server::default();
    let mut first = leader(&mut server, "a", 0);
    first.failed(Setback::Failure, seconds(9));
    assert_eq!(first.next(seconds(9), noon()), Next::Wait(seconds(RENEW)));
    let mut second = candidate("b");
    second.failed(Setback::Failure, seconds(3));
    assert_eq!(second.next(seconds(3), noon()), Next::Wait(seconds(3 + RETRY)));
    assert_eq!(second.next(seconds(5), noon()), Next::Look);
}

#[test]
fn a_lease_without_a_duration_is_waited_for_as_long_as_our_own() {
    let mut server = Server::default();
    let _first = leader(&mut server, "a", 0);
    let mut odd = server.lease.clone().unwrap();
    odd.spec.as_mut().unwrap().lease_duration_seconds = None;
    let mut second = candidate("b");
    second.saw(Some(odd.clone()), seconds(0));
    assert_eq!(second.next(seconds(0), noon()), Next::Wait(seconds(LEASE)));
    // And a holder without a name is none.
    odd.spec.as_mut().unwrap().holder_identity = Some(String::new());
    second.saw(Some(odd), seconds(1));
    assert!(matches!(second.next(seconds(1), noon()), Next::Replace(_)));
}
