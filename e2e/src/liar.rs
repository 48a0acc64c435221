//! A disk that lies: a vhost-user back end (the protocol is in QEMU's `docs/interop/vhost-user.rst`) in the hands of the
//! test. It speaks to the driver in the machine directly, past QEMU, and breaks the rules as it is told.

mod ring;
mod vhost;

use std::{os::unix::net::UnixListener, path::Path, thread};

use ring::Chain;
use vhost::BackEnd;

/// Bytes of the disk, all zero.
pub const LEN: u64 = 1 << 20;

const KIND_READ: u32 = 0;
const KIND_SERIAL: u32 = 8;

/// What it does when it has several reads to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nothing; it answers them from the last to the first.
    Reversed,
    /// It names a descriptor that no queue has.
    NoSuchId,
    /// It names a descriptor that it was not given.
    NotGiven,
    /// It answers the first twice.
    Twice,
    /// It says that it wrote more than there was room for.
    TooLong,
    /// It says that it wrote nothing, but all is well.
    TooShort,
    /// It answers with a status that does not exist.
    Status(u8),
    /// It answers without a status.
    NoStatus,
    /// It says that it answered far more than it was asked.
    Ahead,
    /// It answers nothing from the start.
    Silent,
}

/// What its configuration says (virtio 1.2, 5.2.4).
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// In units of 512 bytes.
    pub capacity: u64,
    /// The longest segment, if it says one.
    pub size_max: Option<u32>,
    /// The most segments, if it says that.
    pub seg_max: Option<u32>,
    /// The length of a sector.
    pub blk_size: u32,
    /// How many sectors are written at once, as a power of two.
    pub physical_exponent: u8,
}

impl Config {
    /// An ordinary disk.
    pub const USUAL: Config =
        Config { capacity: LEN / 512, size_max: None, seg_max: Some(126), blk_size: 512, physical_exponent: 3 };

    /// `VIRTIO_BLK_F_…` that go with it: block size, topology, flush, and what it says.
    fn features(self) -> u64 {
        1 << 6 | 1 << 10 | 1 << 9 | u64::from(self.size_max.is_some()) << 1 | u64::from(self.seg_max.is_some()) << 2
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = self.capacity.to_le_bytes().to_vec();
        for word in [self.size_max.unwrap_or(0), self.seg_max.unwrap_or(0), 0, self.blk_size] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.push(self.physical_exponent);
        bytes.resize(60, 0);
        bytes
    }
}

/// Serves one machine; the words for QEMU that connect it. `device` is QEMU's name for a `vhost-user-blk`.
pub fn plug_in(folder: &Path, device: &str, config: Config, lie: Lie) -> String {
    let path = folder.join("liar");
    let listener = UnixListener::bind(&path).expect("the folder is the test's");
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("QEMU connects");
        BackEnd::new(stream, config.features(), config.bytes()).serve(|chains| answer(&chains, lie));
    });
    format!(
        "-object memory-backend-memfd,id=ram,size=64M,share=on -machine memory-backend=ram -chardev \
         socket,id=liar,path={} -device {device},chardev=liar",
        path.display()
    )
}

/// What goes into the used ring for these chains: descriptors and lengths.
fn answer(chains: &[Chain], lie: Lie) -> Vec<(u32, u32)> {
    let honest = |chain: &Chain| (u32::from(chain.head), answer_one(chain, 0));
    if lie == Lie::Silent {
        return Vec::new();
    }
    if chains.len() < 2 || chains.iter().any(|chain| chain.kind() != KIND_READ) {
        return chains.iter().map(honest).collect();
    }
    let (head, len) = honest(&chains[0]);
    match lie {
        Lie::Reversed => chains.iter().rev().map(honest).collect(),
        Lie::NoSuchId => vec![(0xffff_0000, len)],
        // The driver deals out slots from the first on, and the last is never reached here.
        Lie::NotGiven => vec![(63, len)],
        Lie::Twice => vec![(head, len), (head, len)],
        Lie::TooLong => vec![(head, len + 1)],
        Lie::TooShort => chains.iter().map(|chain| (honest(chain).0, 0)).collect(),
        Lie::Status(status) => vec![(head, answer_one(&chains[0], status))],
        Lie::NoStatus => {
            chains[0].unwrite_status();
            vec![(head, len)]
        }
        Lie::Ahead => vec![(head, len); 300],
        Lie::Silent => Vec::new(),
    }
}

/// Does what the chain asks. How many bytes it wrote.
fn answer_one(chain: &Chain, status: u8) -> u32 {
    let data = match chain.kind() {
        KIND_SERIAL => b"liar\0".to_vec(),
        _ => vec![0; chain.data_len()],
    };
    chain.write(&data, status)
}
