//! Messages written and read back, and hostile ones.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn reading_hostile_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for element in read_elements(&bytes) {
            prop_assert!(element.key.len() <= bytes.len());
        }
        prop_assert!(ours().read_quota(&bytes).is_none_or(|quota| quota.name.len() <= bytes.len()));
    }

    #[test]
    fn a_truncated_answer_yields_no_more_than_the_whole(cut in 0usize..200, octets in any::<u64>()) {
        let whole = answer(&Entry { key: &[1, 2, 3, 4], counter: Some(Counter { octets, packets: 2 }), ..Entry::default() });
        let part: Vec<_> = read_elements(whole.get(..cut).unwrap_or(&whole)).collect();
        let all: Vec<_> = read_elements(&whole).collect();
        prop_assert!(part.is_empty() || part == all);
        prop_assert_eq!(all[0].counter, Some(Counter { octets, packets: 2 }));
    }
}

fn ours() -> Table {
    Table::named("kavadam")
}

/// The body of an answer that shows this entry.
fn answer(entry: &Entry) -> Vec<u8> {
    let mut w = Writer::default();
    family_header(&mut w, FAMILY_INET, 0);
    w.string(1, "kavadam");
    elements(&mut w, "any", std::slice::from_ref(entry));
    w.as_slice().to_vec()
}

#[test]
fn reads_every_part_of_an_element() {
    let entry = Entry {
        key: &[9, 9, 9, 9],
        data: Some(&[1, 0, 0, 0]),
        object: Some("p7"),
        timeout_ms: Some(5000),
        counter: None,
        limit: Some((1_250_000, 0)),
        userdata: Some(b"label"),
    };
    let read: Vec<_> = read_elements(&answer(&entry)).collect();
    let expected = Element {
        key: vec![9, 9, 9, 9],
        data: Some(vec![1, 0, 0, 0]),
        object: Some("p7".to_owned()),
        expires_ms: None,
        counter: None,
        limit_octets: Some(1_250_000),
        userdata: Some(b"label".to_vec()),
    };
    assert_eq!(read, [expected]);
}

#[test]
fn ignores_objects_of_other_tables() {
    let mut w = Writer::default();
    family_header(&mut w, FAMILY_INET, 0);
    w.string(1, "elsewhere");
    w.string(2, "p1");
    w.u32(3, QUOTA_OBJECT);
    w.nest(4, |w| {
        w.u64(1, 10);
        w.u64(4, 10);
    });
    assert_eq!(ours().read_quota(w.as_slice()), None);
}

#[test]
fn an_empty_batch_is_nothing_to_send() {
    assert!(ours().batch(1).finish().is_none());
}

#[test]
fn a_batch_asks_for_one_acknowledgement_at_its_last_change() {
    let mut batch = ours().batch(10);
    batch.delete("a", &[1]).delete("b", &[2]);
    let (writer, last) = batch.finish().unwrap();
    let acks: Vec<_> = wire::messages(writer.as_slice())
        .map(|m| (m.sequence, m.flags & wire::ACK != 0))
        .collect();
    assert_eq!(acks, [(10, false), (11, false), (12, true), (13, false)]);
    assert_eq!(last, 12);
}

/// Kind and body of each message of a batch.
fn written(batch: Batch) -> Vec<(u16, Vec<u8>)> {
    let (writer, _) = batch.finish().unwrap();
    let messages = wire::messages(writer.as_slice());
    messages.map(|message| (message.kind, message.body.to_vec())).collect()
}

#[test]
fn a_gathered_batch_says_the_same_in_fewer_messages() {
    let entry = |key| Entry {
        key,
        counter: Some(Counter::default()),
        ..Entry::default()
    };
    let fill = |batch: &mut Batch| {
        for key in [&[1, 0, 0, 0], &[2, 0, 0, 0]] {
            batch.add("one", &entry(key)).delete_quota("p1").delete("two", key);
        }
    };
    let mut gathered = ours().batch(1);
    fill(gathered.gather());
    let [(begin, _), (delete, deleted), (add, added), quotas @ .., (end, _)] = &written(gathered)[..] else {
        panic!("no batch");
    };
    let kind = |kind: u16| SUBSYSTEM << 8 | kind;
    assert_eq!(
        [*begin, *delete, *add, *end],
        [0x10, kind(DELETE_ELEMENT), kind(NEW_ELEMENT), 0x11]
    );
    assert_eq!(quotas.len(), 2, "when no element points to them any more");
    assert!(quotas.iter().all(|(one, _)| *one == kind(DELETE_OBJECT)));

    let of = |wanted: u16| -> Vec<Element> {
        let mut single = ours().batch(1);
        fill(&mut single);
        let messages = written(single).into_iter().filter(|(one, _)| *one == kind(wanted));
        messages
            .flat_map(|(_, body)| read_elements(&body).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(read_elements(added).collect::<Vec<_>>(), of(NEW_ELEMENT));
    assert_eq!(read_elements(deleted).collect::<Vec<_>>(), of(DELETE_ELEMENT));
}

#[test]
fn a_gathered_batch_of_nothing_is_nothing_to_send() {
    let mut batch = ours().batch(1);
    batch.gather();
    assert!(batch.finish().is_none());
}
