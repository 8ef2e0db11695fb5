use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kavadam_firewall::FirewallError;
use tokio::sync::mpsc;

use super::*;

/// The pairs that may send.
#[derive(Clone, Default)]
struct FakeGate(Arc<Mutex<HashSet<(Mac, Ipv4Addr)>>>);

impl Admission for FakeGate {
    fn admit_lease(&self, mac: Mac, ipv4: Ipv4Addr, _: Option<Duration>) -> Result<(), FirewallError> {
        self.0.lock().unwrap().insert((mac, ipv4));
        Ok(())
    }
    fn revoke_lease(&self, mac: Mac, ipv4: Ipv4Addr) -> Result<(), FirewallError> {
        self.0.lock().unwrap().remove(&(mac, ipv4));
        Ok(())
    }
}

struct Scene {
    keeper: LeaseKeeper<FakeGate>,
    gate: FakeGate,
    messages: mpsc::Receiver<Message>,
    dir: tempfile::TempDir,
}

fn scene(file: &str) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases");
    std::fs::write(&path, file).unwrap();
    let (handle, messages) = EngineHandle::new();
    let gate = FakeGate::default();
    Scene {
        keeper: LeaseKeeper::new(gate.clone(), Devices::default(), handle, path, DhcpPool::default()),
        gate,
        messages,
        dir,
    }
}

impl Scene {
    fn admitted(&self) -> usize {
        self.gate.0.lock().unwrap().len()
    }

    /// How often the engine was told to ask whether a device is remembered.
    fn knocks(&mut self) -> usize {
        let messages = std::iter::from_fn(|| self.messages.try_recv().ok());
        messages.filter(|one| matches!(one, Message::Knock(..))).count()
    }

    /// Addresses that were said to be gone.
    fn gone(&mut self) -> Vec<Ipv4Addr> {
        let mut gone = Vec::new();
        while let Ok(message) = self.messages.try_recv() {
            if let Message::AddressGone(_, ipv4) = message {
                gone.push(ipv4);
            }
        }
        gone
    }
}

const LEASE: &str = "0 02:00:00:00:00:01 10.80.1.1 * *\n";
const OTHER: &str = "0 02:00:00:00:00:02 10.80.1.2 * *\n";
/// The first one's address is another's.
const HANDED_ON: &str = "0 02:00:00:00:00:03 10.80.1.1 * *\n";

#[tokio::test]
async fn an_address_that_the_file_alone_says_is_anothers_is_the_first_ones_no_longer() {
    let mut scene = scene(LEASE);
    scene.keeper.read_file().await;
    std::fs::write(scene.dir.path().join("leases"), HANDED_ON).unwrap();
    scene.keeper.read_file().await;
    let held: Vec<Mac> = scene.gate.0.lock().unwrap().iter().map(|(mac, _)| *mac).collect();
    assert_eq!(held, [Mac([2, 0, 0, 0, 0, 3])]);
    assert_eq!(scene.gone(), [Ipv4Addr::new(10, 80, 1, 1)]);
}

#[tokio::test]
async fn admits_ten_thousand_leases_before_anybody_listens_and_tells_of_them_in_time() {
    let mut text = String::new();
    for n in 0..10_000_u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let _ = writeln!(text, "0 02:00:00:00:{high:02x}:{low:02x} 10.80.{high}.{low} * *");
    }
    let mut scene = scene(&text);
    let reading = tokio::time::timeout(Duration::from_mins(1), scene.keeper.read_file());
    reading.await.expect("waits for no engine");
    assert_eq!(scene.admitted(), 10_000);
    assert!(scene.messages.is_empty());

    let socket = crate::lease::listen(&scene.dir.path().join("socket")).unwrap();
    let cancel = CancellationToken::new();
    let keeper = tokio::spawn(scene.keeper.run(socket, cancel.clone()));
    let began = tokio::time::Instant::now();
    let (mut knocks, mut addresses) = (0, 0);
    while knocks < 1_280 {
        match scene.messages.recv().await.unwrap() {
            Message::Knock(..) => knocks += 1,
            Message::Address(..) => addresses += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(addresses, 1_280);
    assert!(began.elapsed() >= Duration::from_millis(500), "no flood");
    cancel.cancel();
    keeper.await.unwrap();
}

#[tokio::test]
async fn ends_a_lease_that_is_twice_missing_from_the_file() {
    let mut scene = scene(&format!("{LEASE}{OTHER}"));
    scene.keeper.read_file().await;
    assert_eq!(scene.admitted(), 2);
    std::fs::write(&scene.keeper.file, OTHER).unwrap();
    scene.keeper.read_file().await;
    assert_eq!(scene.admitted(), 2, "it may have been read while it was written");
    scene.keeper.read_file().await;
    assert_eq!(scene.admitted(), 1);
    assert_eq!(scene.gone(), [Ipv4Addr::new(10, 80, 1, 1)]);
    scene.keeper.read_file().await;
    assert_eq!(scene.gone(), [] as [Ipv4Addr; 0]);
}

#[tokio::test]
async fn a_lease_that_is_back_in_the_file_stays() {
    let mut scene = scene(&format!("{LEASE}{OTHER}"));
    scene.keeper.read_file().await;
    for text in [OTHER.to_owned(), format!("{LEASE}{OTHER}"), OTHER.to_owned()] {
        std::fs::write(&scene.keeper.file, text).unwrap();
        scene.keeper.read_file().await;
    }
    assert_eq!(scene.admitted(), 2);
}

#[tokio::test]
async fn a_lease_that_goes_from_mac_to_mac_leaves_nothing_behind() {
    let mut scene = scene("");
    for number in 1..=50 {
        let text = format!("old 02:00:00:00:00:{number:02x} 10.80.1.1 ap-{number}");
        scene.keeper.take_in(read_event(&text).unwrap()).await;
    }
    assert_eq!(scene.admitted(), 1);
    let place = |number| scene.keeper.devices.place_of(Mac([2, 0, 0, 0, 0, number]));
    assert_eq!((place(49), place(50)), (None, Some("ap-50".to_owned())));
    assert_eq!(scene.gone().len(), 49);
}

#[tokio::test]
async fn a_lease_that_is_over_only_as_the_clock_was_set_lasts_its_time() {
    let [first, second, third] = [1, 2, 3].map(|number| Ipv4Addr::new(10, 80, 1, number));
    let mut scene = scene("");
    let hour = Duration::from_hours(1);
    let then = clock::now() - hour * 2;
    for (number, ipv4, given) in [(1, first, then), (2, second, then), (3, third, clock::now())] {
        let lease = Lease {
            mac: Mac([2, 0, 0, 0, 0, number]),
            ipv4,
            until: Some(given + hour),
        };
        assert!(scene.keeper.admit(lease, given));
    }
    for number in 1..=3 {
        let text = format!("del 02:00:00:00:00:0{number} 10.80.1.{number}");
        scene.keeper.take_in(read_event(&text).unwrap()).await;
    }
    assert_eq!(scene.gone(), [third], "which was given back");
    for _ in 0..3 {
        scene.keeper.read_file().await;
    }
    assert_eq!((scene.admitted(), scene.gone().len()), (2, 0));

    let taken = read_event("add 02:00:00:00:00:09 10.80.1.2").unwrap();
    scene.keeper.take_in(taken).await;
    assert_eq!(scene.gone(), [second], "another device has it");
    scene.keeper.terms.get_mut(&first).unwrap().ends = Instant::now();
    for _ in 0..2 {
        std::fs::write(&scene.keeper.file, "0 02:00:00:00:00:09 10.80.1.2 * *").unwrap();
        scene.keeper.read_file().await;
    }
    assert_eq!(scene.gone(), [first], "its time is over");
}

#[tokio::test]
async fn an_address_that_ends_is_named_and_its_new_owner_keeps_it() {
    let mut scene = scene("");
    for text in [
        "add 02:00:00:00:00:01 10.80.1.1",
        "add 02:00:00:00:00:02 10.80.1.1",
        "del 02:00:00:00:00:01 10.80.1.1",
    ] {
        scene.keeper.take_in(read_event(text).unwrap()).await;
    }
    let owner = Mac([2, 0, 0, 0, 0, 2]);
    let ended = Ipv4Addr::new(10, 80, 1, 1);
    assert_eq!(scene.gone(), [ended; 2], "when another has it, and when it is said so");
    assert_eq!(
        scene.keeper.known.get(&Ipv4Addr::new(10, 80, 1, 1)),
        Some(&(owner, None))
    );
    assert_eq!(scene.admitted(), 1);
}

#[tokio::test]
async fn who_is_not_there_is_asked_after_when_it_is() {
    let mut scene = scene(LEASE);
    scene.keeper.seen = |_, _| Vec::new();
    scene.keeper.read_file().await;
    scene.keeper.tell_some().await;
    let renewed = || read_event("old 02:00:00:00:00:01 10.80.1.1").unwrap();
    for event in ["add 02:00:00:00:00:02 10.80.1.2", "old 02:00:00:00:00:02 10.80.1.2"] {
        scene.keeper.take_in(read_event(event).unwrap()).await;
    }
    assert_eq!((scene.admitted(), scene.knocks()), (2, 0), "an address is no harm");
    scene.keeper.seen = |_, _| vec![Mac([2, 0, 0, 0, 0, 1])];
    for knocks in [1, 0] {
        scene.keeper.take_in(renewed()).await;
        assert_eq!(scene.knocks(), knocks, "once");
    }
    scene
        .keeper
        .end(Mac([2, 0, 0, 0, 0, 2]), Ipv4Addr::new(10, 80, 1, 2))
        .await;
    assert!(scene.keeper.absent.is_empty());
}

#[tokio::test]
async fn who_appears_and_asks_for_nothing_is_asked_after_at_once() {
    static ARE_THERE: AtomicBool = AtomicBool::new(false);
    let mut scene = scene(&format!("{LEASE}{OTHER}"));
    scene.keeper.seen = |_, mut macs| {
        macs.retain(|mac| ARE_THERE.load(Ordering::Relaxed) && *mac == Mac([2, 0, 0, 0, 0, 1]));
        macs
    };
    let socket = crate::lease::listen(&scene.dir.path().join("socket")).unwrap();
    let cancel = CancellationToken::new();
    let keeper = tokio::spawn(scene.keeper.run(socket, cancel.clone()));
    for _ in 0..2 {
        assert!(matches!(scene.messages.recv().await, Some(Message::Address(..))));
    }
    tokio::time::sleep(ABSENT_EVERY / 2).await;
    assert!(scene.messages.is_empty(), "nobody is there");
    ARE_THERE.store(true, Ordering::Relaxed);
    let knocked = async {
        loop {
            if let Some(Message::Knock(device, _)) = scene.messages.recv().await {
                return device.mac;
            }
        }
    };
    let knocked = tokio::time::timeout(ABSENT_EVERY * 3, knocked).await;
    assert_eq!(knocked.expect("asked after"), Mac([2, 0, 0, 0, 0, 1]));
    tokio::time::sleep(ABSENT_EVERY * 2).await;
    assert!(scene.messages.is_empty(), "once, and not after the other");
    cancel.cancel();
    keeper.await.unwrap();
}

#[tokio::test]
async fn a_crowd_that_appears_at_once_is_told_of_at_the_same_pace_as_others() {
    static ARE_THERE: AtomicBool = AtomicBool::new(false);
    let mut text = String::new();
    for n in 0..640_u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let _ = writeln!(text, "0 02:00:00:00:{high:02x}:{low:02x} 10.80.{high}.{low} * *");
    }
    let mut scene = scene(&text);
    scene.keeper.seen = |_, mut macs| {
        macs.retain(|_| ARE_THERE.load(Ordering::Relaxed));
        macs
    };
    let socket = crate::lease::listen(&scene.dir.path().join("socket")).unwrap();
    let cancel = CancellationToken::new();
    let keeper = tokio::spawn(scene.keeper.run(socket, cancel.clone()));
    for _ in 0..640 {
        assert!(matches!(scene.messages.recv().await, Some(Message::Address(..))));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    ARE_THERE.store(true, Ordering::Relaxed);
    let (mut knocks, mut began) = (0, None);
    while knocks < 640 {
        let message = scene.messages.recv().await.unwrap();
        began.get_or_insert_with(tokio::time::Instant::now);
        knocks += usize::from(matches!(message, Message::Knock(..)));
    }
    let took = began.unwrap().elapsed();
    assert!(took >= Duration::from_millis(300), "no flood: {took:?}");
    cancel.cancel();
    keeper.await.unwrap();
}
