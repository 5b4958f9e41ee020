//! What is said of what is wrong with an archive, and whether that is worth another try.

use super::*;

#[test]
fn every_reason_has_its_code_and_only_what_another_try_can_mend_is_tried_again() {
    let text = |text: &str| text.to_owned();
    let cases = [
        (StructureError::Empty, "not-an-archive", false),
        (StructureError::Malformed(text("it is a gzip")), "not-an-archive", false),
        (StructureError::Damaged(text("a check fails")), "damaged", true),
        (StructureError::CutShort, "cut-short", true),
        (StructureError::TooLarge(7), "too-large", false),
        (StructureError::NeedsMemory(7), "too-large", false),
        (StructureError::Read(io::Error::other(TooLong)), "too-large", false),
        (StructureError::Read(io::ErrorKind::StorageFull.into()), "no-space", true),
        (StructureError::Read(io::Error::other(NotWritten(io::ErrorKind::StorageFull.into()))), "no-space", true),
        (StructureError::Read(io::ErrorKind::PermissionDenied.into()), "io", true),
    ];
    for (error, code, again) in cases {
        let fault = fault(&error);
        assert_eq!((fault.code.as_str(), fault.code.is_transient()), (code, again), "{error:?}");
        assert!(!fault.message.is_empty());
    }
}
