//! Compresses one gzip member with several threads.
//!
//! The input is cut into blocks of fixed size. Each is compressed separately, with the previous [`WINDOW`] bytes as its
//! dictionary, and ends at a byte boundary. So the blocks in order are one deflate stream (RFC 1951), as in pigz; their
//! checksums are combined into the member's (RFC 1952). The output depends only on the input and the level, not on the
//! number of threads.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

const BLOCK: usize = 512 * 1024;
/// The longest distance in deflate (RFC 1951, 2).
const WINDOW: usize = 32 * 1024;

/// The size of a block with its dictionary.
const INPUT: usize = WINDOW + BLOCK;
/// Space for an incompressible block. If the compressor ran out of it in a flush, it could write a second flush marker (zlib.h,
/// `deflate`).
const OUTPUT: usize = BLOCK + BLOCK / 4;
/// How many blocks may wait for a compressor or for the writer, besides those being compressed. Each needs memory.
const AHEAD: usize = 2;

/// The header: deflate, no name, no time, no extra flags, "unix" (RFC 1952, 2.3.1). A name or a time, which `gzip` without -n
/// writes, would make two archives of the same tree differ (FAULTS M11).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// A block to compress: its buffer holds `primed` bytes of dictionary, then the block.
struct Job {
    buffer: Vec<u8>,
    primed: usize,
    last: bool,
    done: SyncSender<io::Result<Packed>>,
}

struct Packed {
    bytes: Vec<u8>,
    crc: Crc,
    last: bool,
}

/// Buffers to reuse.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// Allocates all buffers of one kind at once: allocated one by one, between the compressors' own short-lived memory, they
/// would fragment the heap. Memory that was never written to costs nothing.
fn pool(threads: usize, size: usize) -> Pool {
    let in_use = threads + AHEAD + 2;
    Arc::new(Mutex::new((0..in_use).map(|_| Vec::with_capacity(size)).collect()))
}

/// The input side: cuts what is written to it into blocks.
pub(crate) struct Blocks {
    buffer: Vec<u8>,
    primed: usize,
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<io::Result<Packed>>>,
    inputs: Pool,
}

/// The output side: the compressed blocks in order.
pub(crate) struct Member {
    order: Receiver<Receiver<io::Result<Packed>>>,
    outputs: Pool,
}

/// Starts `threads` compressors.
pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>, threads: usize, level: u32) -> (Blocks, Member) {
    let (order, in_order) = sync_channel(threads + AHEAD);
    let (jobs, todo) = sync_channel::<Job>(AHEAD);
    let todo = Arc::new(Mutex::new(todo));
    let (inputs, outputs) = (pool(threads, INPUT), pool(threads, OUTPUT));
    for _ in 0..threads {
        let (todo, inputs, outputs) = (todo.clone(), inputs.clone(), outputs.clone());
        scope.spawn(move || {
            loop {
                let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(Job { buffer, primed, last, done }) = job else { return };
                let packed = compress(&buffer, primed, last, level, take(&outputs));
                give(&inputs, buffer);
                // Nobody waits for it after the archive has failed.
                let _ = done.send(packed);
            }
        });
    }
    let blocks = Blocks { buffer: take(&inputs), primed: 0, jobs, order, inputs };
    (blocks, Member { order: in_order, outputs })
}

impl Blocks {
    /// Compresses the rest and ends the stream. Otherwise the member is incomplete.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send(true)
    }

    fn send(&mut self, last: bool) -> io::Result<()> {
        let mut next = take(&self.inputs);
        // As in pigz: without a dictionary each block would start with no matches (pigz.c, header comment).
        let window = self.buffer.len().saturating_sub(WINDOW);
        next.reserve_exact(INPUT);
        next.extend_from_slice(&self.buffer[window..]);
        let primed = std::mem::replace(&mut self.primed, next.len());
        let buffer = std::mem::replace(&mut self.buffer, next);
        let (done, packed) = sync_channel(1);
        // First its place in the order, then the job: a full queue makes the writer of the tree wait, and memory stays bounded
        // (FAULTS M13).
        self.order.send(packed).map_err(|_| ended())?;
        self.jobs.send(Job { buffer, primed, last, done }).map_err(|_| ended())
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.primed + BLOCK - self.buffer.len();
        let length = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        if length == room {
            self.send(false)?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Member {
    /// Writes the member to `out`, block by block. If the input ended without [`Blocks::finish`], the trailer is missing, so
    /// that no reader takes the member for complete.
    ///
    /// # Errors
    /// Errors of `out` and of the compressor.
    pub(crate) fn write(self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&HEADER)?;
        let mut crc = Crc::new();
        loop {
            let packed = self.order.recv().map_err(|_| ended())?;
            let Packed { bytes, crc: of_block, last } = packed.recv().map_err(|_| ended())??;
            out.write_all(&bytes)?;
            crc.combine(&of_block);
            give(&self.outputs, bytes);
            if last {
                break;
            }
        }
        // CRC-32 and length modulo 2^32, both little-endian (RFC 1952, 2.3.1).
        let trailer = u64::from(crc.sum()) | u64::from(crc.amount()) << 32;
        out.write_all(&trailer.to_le_bytes())
    }
}

/// Compresses `buffer` from `primed` on.
///
/// Each block gets a new compressor. A used one lets earlier input decide between matches of equal length, so the output
/// would depend on which thread took which block.
fn compress(buffer: &[u8], primed: usize, last: bool, level: u32, mut out: Vec<u8>) -> io::Result<Packed> {
    let (dictionary, input) = buffer.split_at(primed);
    let mut crc = Crc::new();
    crc.update(input);
    // Raw deflate: the blocks share one gzip header and trailer.
    let mut compressor = Compress::new(Compression::new(level), false);
    if !dictionary.is_empty() {
        compressor.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    // A sync flush ends the block at a byte boundary, with an empty stored block (zlib.h, Z_SYNC_FLUSH), so that the blocks can
    // be joined. Only the last one has the end-of-stream bit.
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    out.clear();
    out.reserve_exact(OUTPUT);
    loop {
        let taken = compressor.total_in() as usize;
        let status = compressor.compress_vec(&input[taken..], &mut out, flush).map_err(io::Error::other)?;
        let all = compressor.total_in() as usize == input.len();
        match status {
            Status::StreamEnd => break,
            // Space is left, so the flush is complete (zlib.h, `deflate`).
            Status::Ok | Status::BufError if !last && all && out.len() < out.capacity() => break,
            Status::Ok | Status::BufError => out.reserve(BLOCK / 8),
        }
    }
    Ok(Packed { bytes: out, crc, last })
}

fn take(pool: &Pool) -> Vec<u8> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

fn give(pool: &Pool, mut buffer: Vec<u8>) {
    buffer.clear();
    pool.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
}

/// The error when the other side has stopped. That side reports why.
fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the archive was given up")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn member(input: &[u8], threads: usize, level: u32, step: usize) -> Vec<u8> {
        std::thread::scope(|scope| {
            let (mut blocks, member) = start(scope, threads, level);
            let writer = scope.spawn(move || {
                let mut out = Vec::new();
                member.write(&mut out).map(|()| out)
            });
            for part in input.chunks(step) {
                blocks.write_all(part).unwrap();
            }
            blocks.finish().unwrap();
            writer.join().unwrap().unwrap()
        })
    }

    /// Text with distant repetitions, and incompressible noise.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u32
        };
        let mut out = Vec::new();
        while out.len() < length {
            match next() % 4 {
                0 => out.extend_from_slice(&next().to_le_bytes()),
                1 => out.extend_from_slice(format!("  name: manifest-{}\n", next() % 100).as_bytes()),
                2 => out.extend_from_slice(&[0; 300]),
                _ => {
                    let start = out.len().saturating_sub(next() as usize % 40_000);
                    let end = out.len().min(start + 200);
                    out.extend_from_within(start..end);
                }
            }
        }
        out.truncate(length);
        out
    }

    #[test]
    fn one_member_comes_back_at_any_length_level_and_number_of_threads() {
        for length in [0, 1, WINDOW, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 12345] {
            let input = sample(length);
            for level in [1, 5, 9] {
                let packed = member(&input, 1, level, 1 << 20);
                assert_eq!(packed, member(&input, 3, level, 7777), "{length} at level {level}");
                let mut back = Vec::new();
                let mut decoder = flate2::bufread::GzDecoder::new(&packed[..]);
                decoder.read_to_end(&mut back).unwrap();
                assert!(back == input, "{length} at level {level}");
                assert!(decoder.into_inner().is_empty(), "nothing follows the one member");
            }
        }
    }

    #[test]
    fn what_does_not_compress_grows_by_little() {
        let mut noise = vec![0; 2 * BLOCK];
        let mut state = 7_u64;
        for byte in &mut noise {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        let packed = member(&noise, 2, 5, BLOCK);
        assert!(packed.len() < noise.len() + noise.len() / 100);
    }

    #[test]
    fn an_input_that_is_given_up_leaves_no_trailer() {
        std::thread::scope(|scope| {
            let (mut blocks, member) = start(scope, 2, 5);
            blocks.write_all(&[1; BLOCK + 5]).unwrap();
            drop(blocks);
            let mut out = Vec::new();
            member.write(&mut out).unwrap_err();
            let mut decoder = flate2::read::GzDecoder::new(&out[..]);
            assert!(decoder.read_to_end(&mut Vec::new()).is_err());
        });
    }
}
