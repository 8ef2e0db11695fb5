use super::*;

fn read(text: &str) -> Result<Dictionary, Vec<String>> {
    let mut dictionary = Dictionary::default();
    dictionary
        .add("dictionary.x", text)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok(dictionary)
}

fn complaint(text: &str) -> String {
    read(text).map(|_| ()).unwrap_err().remove(0)
}

#[test]
fn an_attribute_is_found_by_its_name_whatever_the_case() {
    let text = "# a remark\nVENDOR Cam 17713 format=2,1\nBEGIN-VENDOR Cam\n\tATTRIBUTE  Cam-Quota 0x9b integer # why\nEND-VENDOR Cam\n\
                ATTRIBUTE Tunnel-Type 64 integer has_tag\nVALUE Tunnel-Type VLAN 13\n";
    let dictionary = read(text).unwrap();
    let quota = dictionary.attribute("cam-quota").unwrap();
    assert_eq!((quota.number, quota.kind), (155, Kind::Number(4)));
    let vendor = quota.vendor.unwrap();
    assert_eq!((vendor.number, vendor.layout.kind_octets), (17713, 2));
    assert!(dictionary.attribute("Tunnel-Type").unwrap().has_tag);
    assert_eq!(dictionary.value("tunnel-type", "vlan"), Some(13));
    assert_eq!(dictionary.like("Cam-Quotas"), Some("Cam-Quota"));
}

#[test]
fn what_cannot_be_sent_by_name_is_read_all_the_same() {
    let text = "VENDOR A 9\nBEGIN-VENDOR A\nATTRIBUTE A-Tlv 1 tlv\nBEGIN-TLV A-Tlv\nATTRIBUTE A-In 1 integer\nEND-TLV A-Tlv\n\
                ATTRIBUTE A-Dotted 158.1 string\nATTRIBUTE A-Key 2 octets encrypt=2\nATTRIBUTE A-Old 3 string\nEND-VENDOR A\n\
                ATTRIBUTE Internal 1100 string\nATTRIBUTE A-Older 4 octets[16] A\n";
    let dictionary = read(text).unwrap();
    for name in ["A-Tlv", "A-In", "A-Dotted", "A-Key", "Internal"] {
        assert_eq!(dictionary.attribute(name).unwrap().kind, Kind::Other, "{name}");
    }
    assert_eq!(dictionary.attribute("A-Old").unwrap().kind, Kind::Text);
    assert_eq!(dictionary.attribute("A-Older").unwrap().vendor.unwrap().number, 9);
}

#[test]
fn every_mistake_is_told_with_its_line_and_its_remedy() {
    for (text, wanted) in [
        (
            "\nATRIBUTE x 1 string",
            "dictionary.x:2: `ATRIBUTE` is no keyword: use VENDOR,",
        ),
        (
            "ATTRIBUTE x 1",
            "dictionary.x:1: of the form ATTRIBUTE name number type",
        ),
        ("ATTRIBUTE x one string", "dictionary.x:1: `one` is no number"),
        (
            "ATTRIBUTE x 1 text64",
            "dictionary.x:1: `text64` is no type: use string,",
        ),
        (
            "ATTRIBUTE x 1 string tagged",
            "dictionary.x:1: `tagged` is no flag and no vendor",
        ),
        (
            "BEGIN-VENDOR x",
            "dictionary.x:1: no line `VENDOR x number` before this",
        ),
        ("VENDOR x 1 format=3,1", "dictionary.x:1: `format=3,1`: use format=T,L"),
        (
            "VENDOR x 1\nBEGIN-VENDOR x\n",
            "dictionary.x: END-VENDOR x is missing at the end",
        ),
        ("END-VENDOR x", "dictionary.x:1: END-VENDOR without `BEGIN-VENDOR x`"),
        ("END-TLV x", "dictionary.x:1: END-TLV without BEGIN-TLV"),
        ("VALUE x y z", "dictionary.x:1: `z` is no number"),
        ("$INCLUDE other", "dictionary.x:1: $INCLUDE is not followed"),
    ] {
        let found = complaint(text);
        assert!(found.starts_with(wanted), "{text}: {found}");
    }
}

#[test]
fn a_file_that_is_no_dictionary_is_not_gone_through_to_its_end() {
    assert_eq!(read(&"x\n".repeat(1_000)).unwrap_err().len(), MOST_PROBLEMS);
    assert_eq!(read(&" ".repeat(MAX_DICTIONARY_OCTETS + 1)).unwrap_err().len(), 1);
}
