//! The program and the libraries that a process has mapped, and their files.
//!
//! A file is used only if it has the build id that is in the process's memory. A library that was updated while the process
//! runs has another one, and its names would be those of other functions.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindSection as _};
use object::elf::{ELF_NOTE_GNU, FileHeader64, NT_GNU_BUILD_ID, PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE};
use object::read::elf::{ElfFile64, FileHeader as _, NoteIterator, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ReadCache};

use super::maps::{Mapping, Mappings};
use crate::system::read_memory;
use crate::text::clean_os;

/// Limit of the modules of a process.
const MOST_MODULES: usize = 1024;
/// Limit of a module's file.
const MOST_FILE_BYTES: u64 = 4 << 30;
/// Limit of what is read of unwind data in memory.
const MOST_CFI_BYTES: u64 = 64 << 20;
/// Limit of a module that is in memory alone: the kernel's own has 8 KiB.
const MOST_IMAGE_BYTES: u64 = 1 << 20;
/// Bytes with the header and the program headers, which linkers put at the beginning.
const HEAD_BYTES: usize = 4096;
/// Limit of the notes of a module.
const MOST_NOTE_BYTES: u64 = 4096;

/// A program or library in a process.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its path or name, safe to print.
    pub name: String,
    /// Its addresses in the process.
    pub range: Range<u64>,
    /// What an address in the process is more than in the file. It wraps.
    pub bias: u64,
    /// The build id in the process's memory.
    pub build_id: Option<Vec<u8>>,
    /// Its file, or why none is used.
    pub image: Result<Image, String>,
    pub cfi: Option<Cfi>,
}

/// The contents of a module.
#[derive(Debug)]
pub(crate) enum Image {
    File(File),
    Memory(Vec<u8>),
}

/// A file or memory as a stream.
pub(crate) trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// A part of an image is read when it is needed first.
pub(crate) type Cache<'a> = ReadCache<Box<dyn Source + 'a>>;

/// A parsed image, with its sections in a [`Cache`].
pub(crate) type Elf<'d, 'a> = ElfFile64<'d, Endianness, &'d Cache<'a>>;

impl Image {
    pub fn open(&self) -> Cache<'_> {
        ReadCache::new(match self {
            Self::File(file) => Box::new(file),
            Self::Memory(bytes) => Box::new(Cursor::new(bytes.as_slice())),
        })
    }

    fn section(elf: &Elf<'_, '_>, name: &str) -> Option<(u64, Arc<[u8]>)> {
        let section = elf.section_by_name(name)?;
        Some((section.address(), Arc::from(section.data().ok()?)))
    }
}

/// Unwind data: for each address, where the caller's registers are.
#[derive(Debug, Clone)]
pub(crate) struct Cfi {
    /// `.eh_frame`: its address in the file, and its bytes.
    pub frames: (u64, Arc<[u8]>),
    /// Its index `.eh_frame_hdr`.
    pub index: Option<(u64, Arc<[u8]>)>,
}

impl Cfi {
    fn of_image(image: &Image) -> Option<Self> {
        let cache = image.open();
        let elf = Elf::parse(&cache).ok()?;
        let frames = Image::section(&elf, ".eh_frame")?;
        Some(Self { frames, index: Image::section(&elf, ".eh_frame_hdr") })
    }

    /// The addresses of the function at an address of the file.
    pub fn function(&self, address: u64) -> Option<Range<u64>> {
        let (at, index) = self.index.as_ref()?;
        let bases = BaseAddresses::default().set_eh_frame(self.frames.0).set_eh_frame_hdr(*at);
        let header = EhFrameHdr::new(index, LittleEndian).parse(&bases, 8).ok()?;
        let mut frames = EhFrame::new(&self.frames.1, LittleEndian);
        frames.set_address_size(8);
        let find = |frames: &EhFrame<_>, bases: &BaseAddresses, offset| frames.cie_from_offset(bases, offset);
        let function = header.table()?.fde_for_address(&frames, &bases, address, find).ok()?;
        let start = function.initial_address();
        Some(start..start.saturating_add(function.len()))
    }
}

/// What the head of a module in memory says.
struct Head {
    bias: u64,
    build_id: Option<Vec<u8>>,
    bytes: Vec<u8>,
    /// Address and end of the index of the unwind data, and the end of the segment that has it.
    index: Option<(Range<u64>, u64)>,
}

impl Head {
    fn read(pid: u32, base: u64) -> Option<Self> {
        let mut bytes = vec![0; HEAD_BYTES];
        let read = read_memory(pid, base, &mut bytes).ok()?;
        bytes.truncate(read);
        let header = FileHeader64::<Endianness>::parse(bytes.as_slice()).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, bytes.as_slice()).ok()?;
        let loads = || segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
        let first = loads().find(|segment| segment.p_offset(endian) < HEAD_BYTES as u64)?;
        let bias = base.wrapping_sub(first.p_vaddr(endian).wrapping_sub(first.p_offset(endian)));
        let ids = segments.iter().filter(|segment| segment.p_type(endian) == PT_NOTE).filter_map(|segment| {
            let bytes = segment.p_filesz(endian).min(MOST_NOTE_BYTES);
            let mut notes = vec![0; usize::try_from(bytes).ok()?];
            let read = read_memory(pid, bias.wrapping_add(segment.p_vaddr(endian)), &mut notes).ok()?;
            notes.truncate(read);
            let mut notes =
                NoteIterator::<FileHeader64<Endianness>>::new(endian, segment.p_align(endian), &notes)
                    .ok()?;
            while let Ok(Some(note)) = notes.next() {
                if note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
                    return Some(note.desc().to_vec()).filter(|id| !id.is_empty());
                }
            }
            None
        });
        let build_id = ids.take(1).next();
        let index =
            segments.iter().find(|segment| segment.p_type(endian) == PT_GNU_EH_FRAME).and_then(|index| {
                let start = index.p_vaddr(endian);
                let end = start.checked_add(index.p_memsz(endian))?;
                let ends = loads().map(|load| {
                    load.p_vaddr(endian)..load.p_vaddr(endian).saturating_add(load.p_filesz(endian))
                });
                let segment_end = ends.filter(|load| load.contains(&start)).map(|load| load.end).next()?;
                Some((start..end, segment_end))
            });
        Some(Self { bias, build_id, index, bytes })
    }

    /// Reads the unwind data from the process's memory, where the file is not to be had.
    fn cfi(&self, pid: u32) -> Option<Cfi> {
        let (range, segment_end) = self.index.as_ref()?;
        let read = |range: Range<u64>| {
            let mut bytes =
                vec![0; usize::try_from((range.end.checked_sub(range.start)?).min(MOST_CFI_BYTES)).ok()?];
            let read = read_memory(pid, self.bias.wrapping_add(range.start), &mut bytes).ok()?;
            bytes.truncate(read);
            Some(Arc::<[u8]>::from(bytes))
        };
        let index = read(range.clone())?;
        // Version 1, and the data's address as 32 bits relative to the field: what all linkers write.
        let [1, 0x1b, _, _, a, b, c, d, ..] = *index else { return None };
        let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
        let frames = range.start.checked_add(4)?.checked_add_signed(distance)?;
        Some(Cfi { frames: (frames, read(frames..*segment_end)?), index: Some((range.start, index)) })
    }
}

/// All modules of a process, in the order of their addresses.
#[derive(Debug)]
pub(crate) struct Modules(pub Vec<Module>);

impl Modules {
    /// Reads the head of each module from memory, opens its file and reads its unwind data.
    pub fn of(pid: u32, maps: &Mappings) -> Self {
        let mut modules = Vec::new();
        let mut rest = maps.0.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            let is_head =
                first.offset == 0 && first.is_readable && (first.file.1 != 0 || first.path == b"[vdso]");
            if !is_head {
                continue;
            }
            // Between the parts of a module may be its zeroed data, which has no file.
            let is_part = |mapping: &&Mapping| {
                mapping.file == first.file && mapping.path == first.path && mapping.offset > 0
            };
            let parts = rest
                .iter()
                .take_while(|mapping| is_part(mapping) || mapping.file.1 == 0 && mapping.path.is_empty());
            let last = parts.filter(is_part).last().unwrap_or(first);
            let range = first.range.start..last.range.end;
            let count = rest.iter().take_while(|mapping| mapping.range.start < range.end).count();
            let has_code = first.is_executable || rest[..count].iter().any(|mapping| mapping.is_executable);
            rest = &rest[count..];
            if has_code && modules.len() < MOST_MODULES {
                modules.extend(module(pid, first, range));
            }
        }
        Self(modules)
    }

    /// The module at an address.
    pub fn at(&self, address: u64) -> Option<(usize, &Module)> {
        let index = self.0.partition_point(|module| module.range.start <= address).checked_sub(1)?;
        self.0.get(index).filter(|module| module.range.contains(&address)).map(|module| (index, module))
    }
}

fn module(pid: u32, first: &Mapping, range: Range<u64>) -> Option<Module> {
    let head = Head::read(pid, range.start)?;
    let image = match first.path.as_slice() {
        // The kernel's own library is in no file.
        b"[vdso]" => {
            let mut bytes = vec![0; usize::try_from((range.end - range.start).min(MOST_IMAGE_BYTES)).ok()?];
            let read = read_memory(pid, range.start, &mut bytes).ok()?;
            bytes.truncate(read);
            Ok(Image::Memory(bytes))
        }
        _ => find(pid, first, &head).map(Image::File),
    };
    let of_image = image.as_ref().ok().and_then(Cfi::of_image);
    let cfi = of_image.or_else(|| head.cfi(pid));
    let name = clean_os(std::os::unix::ffi::OsStrExt::from_bytes(first.path.as_slice()));
    Some(Module { name, range, bias: head.bias, build_id: head.build_id, image, cfi })
}

/// The file of a module, or why there is none.
fn find(pid: u32, first: &Mapping, head: &Head) -> Result<File, String> {
    let Range { start, end } = first.range;
    // Links to the very files that are mapped, whatever their names are now. Only root may open the second one.
    let links = [format!("/proc/{pid}/exe"), format!("/proc/{pid}/map_files/{start:x}-{end:x}")];
    let path = first.path.strip_suffix(b" (deleted)").unwrap_or(&first.path);
    let by_name = [format!("/proc/{pid}/root").as_bytes(), path].concat();
    let by_name: PathBuf = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(by_name).into();
    let found =
        links.iter().map(|link| (Path::new(link), Some(first.file.1))).chain([(by_name.as_path(), None)]);
    let mut why = "its file cannot be opened".to_owned();
    for (path, link_to) in found {
        let opened = match open(path) {
            Ok((file, inode)) if link_to.is_none_or(|mapped| mapped == inode) => file,
            // The program's own file, and this is a library.
            Ok(_) => continue,
            Err(error) => {
                if link_to.is_none() {
                    why = match error.kind() {
                        io::ErrorKind::NotFound => "its file was deleted".to_owned(),
                        _ => format!("its file cannot be opened: {error}"),
                    };
                }
                continue;
            }
        };
        match is_same(&opened, head, link_to.is_some()) {
            true => return Ok(opened),
            false => why = "the file at its path is another one: it was replaced".to_owned(),
        }
    }
    Err(why)
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // The path is the other process's: it may lead to a pipe, which must not be waited for.
    let file =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let meta = file.metadata()?;
    match meta.is_file() && meta.len() <= MOST_FILE_BYTES {
        true => Ok((file, meta.ino())),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whether a file is what is mapped. A module without a build id is known only by a link of the kernel to its file, and by
/// its head.
fn is_same(file: &File, head: &Head, is_link: bool) -> bool {
    let cache: Cache<'_> = ReadCache::new(Box::new(file));
    let Ok(elf) = Elf::parse(&cache) else { return false };
    match (&head.build_id, elf.build_id()) {
        (Some(mapped), Ok(Some(found))) => mapped == found,
        (None, Ok(None)) if is_link => {
            use object::read::ReadRef as _;
            (&cache).read_bytes_at(0, head.bytes.len() as u64).is_ok_and(|bytes| bytes == head.bytes)
        }
        _ => false,
    }
}
