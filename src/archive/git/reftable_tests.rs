//! Tables and stacks of tables: what git wrote, what nobody would write, and what is no table.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Deleted,
    Object(Sha1Git),
    Tag(Sha1Git),
    Symbolic(Vec<u8>),
}

type Refs = Vec<(Vec<u8>, Owned)>;

fn read(table: &[u8]) -> Result<Refs, ReftableError> {
    let mut found = Vec::new();
    let fill = |at: u64, buf: &mut [u8]| {
        let at = usize::try_from(at).unwrap();
        buf.copy_from_slice(&table[at..at + buf.len()]);
        Ok::<_, ReftableError>(())
    };
    refs(table.len() as u64, fill, |name, value| {
        let value = match value {
            Value::Deleted => Owned::Deleted,
            Value::Object(id) => Owned::Object(id),
            Value::Symbolic(name) => Owned::Symbolic(name.to_vec()),
        };
        found.push((name.to_vec(), value));
        Ok(())
    })?;
    Ok(found)
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    let (mut digits, mut value) = (vec![u8::try_from(value & 0x7f).unwrap()], value >> 7);
    while value > 0 {
        value -= 1;
        digits.push(0x80 | u8::try_from(value & 0x7f).unwrap());
        value >>= 7;
    }
    out.extend(digits.iter().rev());
}

/// A writer of its own, with blocks of so many records, padded to `alignment` where that is not 0.
fn write(refs: &[(Vec<u8>, Owned)], per_block: usize, alignment: u32, behind: &[u8]) -> Vec<u8> {
    let mut header = b"REFT\x01".to_vec();
    header.extend(&alignment.to_be_bytes()[1..]);
    header.extend([0; 16]);
    let mut file = header.clone();
    let blocks = refs.chunks(per_block);
    let last = blocks.len().saturating_sub(1);
    for (number, chunk) in blocks.enumerate() {
        let start = if number == 0 { 0 } else { file.len() };
        let head = file.len();
        file.extend(b"r\0\0\0");
        let (mut before, mut restarts) = (Vec::new(), Vec::new());
        for (count, (name, value)) in chunk.iter().enumerate() {
            let common = before.iter().zip(name).take_while(|(a, b)| a == b).count();
            let prefix = if count % 16 == 0 { 0 } else { common };
            if prefix == 0 {
                restarts.push(file.len() - start);
            }
            let kind = match value {
                Owned::Deleted => 0,
                Owned::Object(_) => 1,
                Owned::Tag(_) => 2,
                Owned::Symbolic(_) => 3,
            };
            put_varint(&mut file, prefix as u64);
            put_varint(&mut file, (((name.len() - prefix) as u64) << 3) | kind);
            file.extend(&name[prefix..]);
            put_varint(&mut file, count as u64 * 1000);
            match value {
                Owned::Deleted => {}
                Owned::Object(id) => file.extend(id.as_bytes()),
                Owned::Tag(id) => file.extend(id.as_bytes().iter().chain(&[0x77; 20])),
                Owned::Symbolic(target) => {
                    put_varint(&mut file, target.len() as u64);
                    file.extend(target);
                }
            }
            before.clone_from(name);
        }
        for restart in &restarts {
            file.extend(&u32::try_from(*restart).unwrap().to_be_bytes()[1..]);
        }
        file.extend(u16::try_from(restarts.len()).unwrap().to_be_bytes());
        let length = u32::try_from(file.len() - start).unwrap();
        file[head + 1..head + 4].copy_from_slice(&length.to_be_bytes()[1..]);
        if alignment != 0 && (number != last || !behind.is_empty()) {
            assert!(length <= alignment);
            file.resize(start + alignment as usize, 0);
        }
    }
    file.extend(behind);
    let mut footer = header;
    footer.extend([0; 40]);
    let crc = crc32fast::hash(&footer);
    footer.extend(crc.to_be_bytes());
    file.extend(footer);
    file
}

/// A table of one block whose records are these bytes.
fn raw(records: &[u8]) -> Vec<u8> {
    let mut table = write(&[(b"x".to_vec(), Owned::Deleted)], 1, 0, b"");
    let footer = table.split_off(table.len() - 68);
    table.truncate(28);
    table.extend(records);
    table.extend([0, 0, 28, 0, 1]);
    let length = u32::try_from(table.len()).unwrap();
    table[25..28].copy_from_slice(&length.to_be_bytes()[1..]);
    table.extend(footer);
    table
}

fn names() -> impl Strategy<Value = Refs> {
    let value = prop_oneof![
        Just(Owned::Deleted),
        any::<[u8; 20]>().prop_map(|id| Owned::Object(Sha1Git::from_bytes(id))),
        any::<[u8; 20]>().prop_map(|id| Owned::Tag(Sha1Git::from_bytes(id))),
        "refs/[a-z]{1,30}".prop_map(|name| Owned::Symbolic(name.into_bytes())),
    ];
    proptest::collection::btree_map("(refs/(heads|tags)/)?[ab]{1,8}", value, 0..80)
        .prop_map(|refs| refs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect())
}

fn told(refs: &[(Vec<u8>, Owned)]) -> Refs {
    let plain = |value: &Owned| match value {
        Owned::Tag(id) => Owned::Object(*id),
        value => value.clone(),
    };
    refs.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

proptest! {
    #[test]
    fn what_was_written_is_read(refs in names(), per_block in 1_usize..40, aligned in any::<bool>(), more in any::<bool>()) {
        let behind: &[u8] = if more { b"g\0\0\x20anything, for logs are not read" } else { b"" };
        let table = write(&refs, per_block, if aligned { 8192 } else { 0 }, behind);
        prop_assert_eq!(read(&table), Ok(told(&refs)));
    }

    #[test]
    fn no_damage_makes_it_panic_and_none_puts_names_out_of_order(
        refs in names(), per_block in 1_usize..40, aligned in any::<bool>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut table = write(&refs, per_block, if aligned { 8192 } else { 0 }, b"");
        let blocks = table.len() - 68;
        for (at, bits) in flips {
            // The footer has a checksum, which would hide what is behind it.
            if blocks > 24 {
                table[24 + at.index(blocks - 24)] ^= bits;
            }
        }
        if let Some(cut) = cut {
            let footer = table.split_off(blocks);
            table.truncate(24.max(cut.index(blocks + 1)));
            table.extend(footer);
        }
        if let Ok(found) = read(&table) {
            prop_assert!(found.is_sorted_by(|(a, _), (b, _)| a < b));
        }
    }

    #[test]
    fn no_records_make_it_panic(records in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = read(&raw(&records));
        let _ = tables(&records);
    }
}

#[test]
fn every_bit_of_header_and_footer_counts() {
    let table = write(&[(b"HEAD".to_vec(), Owned::Symbolic(b"refs/heads/main".to_vec()))], 1, 4096, b"");
    assert!(read(&table).is_ok());
    for at in (0..24).chain(table.len() - 68..table.len()) {
        for bit in 0..8 {
            let mut damaged = table.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
        }
    }
    for length in 0..table.len() {
        assert!(read(&table[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn version_2_is_told_from_damage() {
    let mut table = write(&[], 1, 0, b"");
    table[4] = 2;
    assert_eq!(read(&table), Err(ReftableError::Version(2)));
}

#[test]
fn records_against_the_format_are_refused() {
    let name = |suffix: u8| [0, suffix << 3, b'a', 0];
    assert_eq!(read(&raw(&name(1))), Ok(vec![(b"a".to_vec(), Owned::Deleted)]));
    let twice = [name(1), name(1)].concat();
    let damaged: [(&str, &[u8]); 12] = [
        ("empty name", &[0, 0, 0]),
        ("prefix of nothing", &[1, 8, b'a', 0]),
        ("prefix longer than the name before", &[0, 8, b'a', 0, 2, 8, b'b', 0]),
        ("the same name twice", &twice),
        ("names that fall", &[0, 8, b'b', 0, 0, 8, b'a', 0]),
        ("suffix beyond the block", &[0, 80, b'a', 0]),
        ("unknown type", &[0, 8 | 4, b'a', 0]),
        ("cut id", &[0, 8 | 1, b'a', 0, 1, 2, 3]),
        ("target beyond the block", &[0, 8 | 3, b'a', 0, 9, b'x']),
        ("cut number", &[0, 0x80]),
        ("number of 70 bits", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 8, b'a', 0]),
        ("no update index", &[0, 8, b'a']),
    ];
    for (what, records) in damaged {
        assert!(matches!(read(&raw(records)), Err(Malformed(_))), "{what}");
    }
    let long = |length: usize| {
        let mut records = vec![0];
        put_varint(&mut records, (length as u64) << 3);
        records.extend(vec![b'n'; length]);
        records.push(0);
        read(&raw(&records))
    };
    assert!(long(MAX_NAME).is_ok());
    assert_eq!(long(MAX_NAME + 1), Err(Malformed("a name is too long")));
}

#[test]
fn blocks_against_the_format_are_refused() {
    let table = raw(&[0, 8, b'a', 0]);
    let with = |at: usize, bytes: &[u8]| {
        let mut table = table.clone();
        table[at..at + bytes.len()].copy_from_slice(bytes);
        read(&table)
    };
    assert!(read(&table).is_ok());
    for (at, bytes, what) in [
        (24, &b"x"[..], "unknown type"),
        (24, b"\0", "padding for a block"),
        (25, &[0, 0, 5], "too short for itself"),
        (25, &[1, 0, 0], "beyond the file"),
        (35, &[0, 0], "no restarts"),
        (35, &[0, 9], "more restarts than bytes"),
    ] {
        assert!(matches!(with(at, bytes), Err(Malformed(_))), "{what}: {:?}", with(at, bytes));
    }
    assert_eq!(with(24, b"g"), Ok(vec![]), "a table of logs only");
    assert_eq!(read(&write(&[], 1, 0, b"")), Ok(vec![]), "a table of nothing");
}

#[test]
fn a_list_of_tables_names_files_of_its_own_folder_and_not_too_many() {
    let list = b"0x000000000001-0x000000000002-1a2b3c4d.ref\n0x03-0x03-x_Y.log\n";
    assert_eq!(tables(list), Ok(vec!["0x000000000001-0x000000000002-1a2b3c4d.ref", "0x03-0x03-x_Y.log"]));
    assert_eq!(tables(b""), Ok(vec![]));
    for list in ["../x.ref", "a/b.ref", "/etc/passwd", ".", "..", ".x", "a b", "a\0", "a\r", "\u{e9}.ref"] {
        assert!(tables(list.as_bytes()).is_err(), "{list:?}");
    }
    assert!(tables("x\n".repeat(MAX_TABLES).as_bytes()).is_ok());
    assert!(tables("x\n".repeat(MAX_TABLES + 1).as_bytes()).is_err());
}
