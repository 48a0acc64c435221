//! The bytes of a simulated disk.

use std::{collections::BTreeMap, rc::Rc};

const PAGE_LEN: usize = 4096;

/// Sparse pages, shared between copies until one is changed.
#[derive(Clone, Default)]
pub(super) struct Image(BTreeMap<u64, Rc<[u8; PAGE_LEN]>>);

impl Image {
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) {
        for_each_page(offset, bytes.len(), |page, start, part| match self.0.get(&page) {
            Some(memory) => bytes[part.clone()].copy_from_slice(&memory[start..start + part.len()]),
            None => bytes[part].fill(0),
        });
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for_each_page(offset, bytes.len(), |page, start, part| {
            let memory = self.0.entry(page).or_insert_with(|| Rc::new([0; PAGE_LEN]));
            Rc::make_mut(memory)[start..start + part.len()].copy_from_slice(&bytes[part]);
        });
    }

    pub(super) fn zero(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let start = (at % PAGE_LEN as u64) as usize;
            let part = (PAGE_LEN - start).min((end - at) as usize);
            if part == PAGE_LEN {
                self.0.remove(&(at / PAGE_LEN as u64));
            } else if let Some(memory) = self.0.get_mut(&(at / PAGE_LEN as u64)) {
                Rc::make_mut(memory)[start..start + part].fill(0);
            }
            at += part as u64;
        }
    }
}

/// Calls `f` with a page's number, where in it the bytes are, and which bytes they are.
fn for_each_page(offset: u64, len: usize, mut f: impl FnMut(u64, usize, core::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let start = (at % PAGE_LEN as u64) as usize;
        let part = (PAGE_LEN - start).min(len - done);
        f(at / PAGE_LEN as u64, start, done..done + part);
        done += part;
    }
}
