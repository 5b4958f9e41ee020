//! What packs a tar, for the tests.

use super::Packing;
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use std::io::Write;

pub(super) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn bz2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All that an encoder makes of it.
pub(super) fn lzma(mut stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + (1 << 16));
    while stream.process_vec(&bytes[usize::try_from(stream.total_in()).unwrap()..], &mut out, Action::Finish).unwrap()
        != Status::StreamEnd
    {}
    out
}

pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    lzma(Stream::new_easy_encoder(0, Check::Crc64).unwrap(), bytes)
}

/// A member as lzip's manual describes it: header, an LZMA stream with its end marked, trailer.
pub(super) fn lz(bytes: &[u8]) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(0).unwrap();
    let raw = lzma(Stream::new_raw_encoder(Filters::new().lzma1(options.dict_size(1 << 16))).unwrap(), bytes);
    let size = (6 + raw.len() + 20) as u64;
    let (sum, length) = (crc32fast::hash(bytes).to_le_bytes(), (bytes.len() as u64).to_le_bytes());
    [b"LZIP\x01\x10", &raw[..], &sum, &length, &size.to_le_bytes()].concat()
}

pub(super) fn zst(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn pack(packing: Packing, tar: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Tar => tar.to_vec(),
        Packing::TarGz => gz(tar),
        Packing::TarBz2 => bz2(tar),
        Packing::TarXz => xz(tar),
        Packing::TarZst => zst(tar),
        Packing::TarLz => lz(tar),
        Packing::Zip => unreachable!("no tar is in it"),
    }
}
