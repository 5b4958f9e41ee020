//! Deflate: what larder's encoder makes of any bytes inflates to them, and streams that others ended can be
//! joined, or are refused.

use flate2::{Decompress, FlushDecompress, Status};
use larder::cook::deflate::{Deflater, End, Level};
use larder::cook::join::Joiner;

/// What a hostile stream may inflate to.
const MAX_PLAIN: usize = 1 << 20;

/// What is taken is a whole deflate stream.
pub fn join(input: &[u8]) -> bool {
    for level in [Level::Gzip, Level::Zip] {
        let (mut deflater, mut stream) = (Deflater::new(level), Vec::new());
        let (first, second) = input.split_at(input.len() / 3);
        for (unit, end) in [(first, End::Flush), (second, End::Flush), (input, End::Finish)] {
            deflater.deflate(unit, end, &mut stream).expect("because the encoder is right");
        }
        assert!(inflated(&stream).expect("because it is whole") == [input, input].concat());
    }
    let Some(plain) = inflated(input) else {
        assert!(Joiner::default().join(&mut input.to_vec(), 0, b"").is_err());
        return false;
    };
    let (mut joiner, mut stream) = (Joiner::default(), input.to_vec());
    joiner.join(&mut stream, 0, &plain).expect("because it is what it inflates to");
    stream.extend_from_slice(input);
    assert!(inflated(&stream).expect("because it was joined") == plain.repeat(2));
    let other = [&plain[..], b"x"].concat();
    assert!(joiner.join(&mut input.to_vec(), 0, &other).is_err());
    true
}

/// What a whole stream with nothing behind it inflates to, by zlib-rs without stops.
fn inflated(stream: &[u8]) -> Option<Vec<u8>> {
    let mut inflate = Decompress::new(false);
    let mut plain = Vec::with_capacity(2 * MAX_PLAIN + 1);
    let status = inflate.decompress_vec(stream, &mut plain, FlushDecompress::Finish).ok()?;
    (status == Status::StreamEnd && inflate.total_in() == stream.len() as u64).then_some(plain)
}
