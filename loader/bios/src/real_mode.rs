//! The boot sector, the way up to 64-bit mode, and the way down again to ask the BIOS.
//!
//! | addresses | what |
//! |---|---|
//! | 0x1000 to 0x7000 | page tables: 4 GiB, one to one |
//! | below 0x7c00 | the stack of real mode |
//! | 0x7c00, 0x7e00 | the boot sector; all else of this loader |
//! | 0x20000 | the BIOS reads the disk to there |
//! | 0x30000 | the page of the handover, and the start info |
//! | below 0x80000 | the stack of 64-bit mode |

use core::{arch::global_asm, ptr::addr_of_mut};

global_asm!(
    r#"
.pushsection .boot_sector, "ax"
.code16
.global boot_sector
boot_sector:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    ljmp $0, $.Lsector
.Lsector:
    sti
    movb %dl, boot_drive
    // Does it read by numbers of sectors? (INT 13h extensions)
    movb $0x41, %ah
    movw $0x55aa, %bx
    int $0x13
    movw $.Lno_extensions, %si
    jc .Lsay
    cmpw $0xaa55, %bx
    jne .Lsay
    movb boot_drive, %dl
    movw $.Lload, %si
    movb $0x42, %ah
    int $0x13
    movw $.Lunread, %si
    jc .Lsay
    jmp .Lreal_start

// The text at si, on the screen and on the first serial port, and no further.
.Lsay:
    lodsb
    testb %al, %al
    jz .Lhalt
    movb $0x0e, %ah
    movw $7, %bx
    pushw %ax
    int $0x10
    movw $0x3fd, %dx
    movw $0xffff, %cx
.Lbusy:
    inb %dx, %al
    testb $0x20, %al
    loopz .Lbusy
    popw %ax
    movw $0x3f8, %dx
    outb %al, %dx
    jmp .Lsay
.Lhalt:
    cli
    hlt
    jmp .Lhalt
.Lno_extensions:
    .asciz "unikernel loader: this BIOS reads no disks by LBA; boot by UEFI\r\n"
.Lunread:
    .asciz "unikernel loader: the disk cannot be read; write the image to it again\r\n"
boot_drive:
    .byte 0

    // Written by whoever makes the disk: how many sectors the rest has, and where it lies.
    .org 416
.Lload:
    .byte 16, 0
    .word 0                     // at 418: sectors
    .word 0, 0x7e0              // to 0x7e00
    .quad 0                     // at 424: the first
    .org 440
    // The disk's signature, the partition table of an MBR, and the mark of a boot sector.
    .org 510
    .word 0xaa55
.popsection

.pushsection .real_mode, "awx"
.code16
.Lreal_start:
    // Addresses of an odd MiB: ask the BIOS, and the keyboard controller's successor.
    movw $0x2401, %ax
    int $0x15
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb .Lshort_mode
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jc .Llong_mode
.Lshort_mode:
    movw $.Lno_long_mode, %si
    jmp .Lsay

.Llong_mode:
    // Present and writable is 3; a page of 2 MiB adds 0x80.
    xorl %eax, %eax
    movw $0x1000, %di
    movw $(0x6000 / 4), %cx
    rep stosl
    movl $0x2003, 0x1000
    movl $0x3003, 0x2000
    movl $0x4003, 0x2008
    movl $0x5003, 0x2010
    movl $0x6003, 0x2018
    movw $0x3000, %di
    movl $0x83, %eax
.Lfill:
    movl %eax, (%di)
    addw $8, %di
    addl $0x200000, %eax
    cmpw $0x7000, %di
    jb .Lfill
    movl $.Lfirst, .Lresume

// On to 64-bit mode, where `.Lresume` says.
.Lup:
    cli
    lgdt .Lgdt_pointer
    movl %cr4, %eax
    orl $0x20, %eax             // PAE
    movl %eax, %cr4
    movl $0x1000, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      // EFER
    rdmsr
    orl $0x100, %eax            // LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax       // PG, PE
    movl %eax, %cr0
    ljmpl $8, $.Lup_64
.code64
.Lup_64:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    jmpq *.Lresume(%rip)

.Lfirst:
    movl $0x80000, %esp
    leaq __bss_start(%rip), %rdi
    leaq __bss_end(%rip), %rcx
    subq %rdi, %rcx
    xorl %eax, %eax
    rep stosb
    movzbl boot_drive(%rip), %edi
    xorl %ebp, %ebp
    call {start}
    ud2

// edi: the number of an interrupt of the BIOS, called with the registers in `bios_registers`.
.global bios_interrupt
bios_interrupt:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movb %dil, .Lnumber+1(%rip)
    movq %rsp, .Lstack(%rip)
    leaq .Lback(%rip), %rax
    movq %rax, .Lresume(%rip)
    lidt .Lreal_interrupts(%rip)
    leaq .Ldown_32(%rip), %rax
    pushq $24
    pushq %rax
    lretq
.code32
.Ldown_32:
    movl %cr0, %eax
    andl $0x7fffffff, %eax      // not PG
    movl %eax, %cr0
    movl $0xc0000080, %ecx
    rdmsr
    andl $~0x100, %eax          // not LME
    wrmsr
    movl %cr4, %eax
    andl $~0x20, %eax           // not PAE
    movl %eax, %cr4
    ljmp $32, $.Ldown_16
.code16
.Ldown_16:
    movw $40, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl %cr0, %eax
    andl $~1, %eax              // not PE
    movl %eax, %cr0
    ljmp $0, $.Ldown
.Ldown:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $0x7c00, %esp
    movw bios_registers+24, %es
    movl bios_registers, %eax
    movl bios_registers+4, %ebx
    movl bios_registers+8, %ecx
    movl bios_registers+12, %edx
    movl bios_registers+16, %esi
    movl bios_registers+20, %edi
    sti
.Lnumber:
    int $0
    cli
    cld
    pushfw
    pushw %ds
    pushl %eax
    xorw %ax, %ax
    movw %ax, %ds
    popl bios_registers
    popw %ax
    popw bios_registers+26
    movl %ebx, bios_registers+4
    movl %ecx, bios_registers+8
    movl %edx, bios_registers+12
    movw %es, bios_registers+24
    jmp .Lup
.code64
.Lback:
    movq .Lstack(%rip), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

.balign 8
.Lgdt:
    .quad 0
    .quad 0x00af9b000000ffff    // 64-bit code
    .quad 0x00cf93000000ffff    // data
    .quad 0x00cf9b000000ffff    // 32-bit code
    .quad 0x00009b000000ffff    // 16-bit code
    .quad 0x000093000000ffff    // 16-bit data
.Lgdt_pointer:
    .short 6 * 8 - 1
    .quad .Lgdt
.Lreal_interrupts:
    .short 0x3ff
    .quad 0
.balign 8
.Lresume:
    .quad 0
.Lstack:
    .quad 0
.global bios_registers
bios_registers:
    .skip 28
.balign 8
.global bios_packet
bios_packet:
    .skip 24
.Lno_long_mode:
    .asciz "unikernel loader: the CPU has no 64-bit mode; choose another machine\r\n"
.popsection
"#,
    start = sym crate::start::main,
    options(att_syntax)
);

/// What the BIOS is called with, and what it answers.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Registers {
    pub(crate) eax: u32,
    pub(crate) ebx: u32,
    pub(crate) ecx: u32,
    pub(crate) edx: u32,
    pub(crate) esi: u32,
    pub(crate) edi: u32,
    pub(crate) es: u16,
    pub(crate) flags: u16,
}

impl Registers {
    /// Whether the BIOS said by the carry flag that it failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// Bytes below 64 KiB for what the BIOS reads or writes.
pub(crate) type Packet = [u64; 3];

unsafe extern "C" {
    static mut bios_registers: Registers;
    static mut bios_packet: Packet;
    fn bios_interrupt(number: u32);
}

/// Where the packet is.
pub(crate) fn packet_address() -> u16 {
    addr_of_mut!(bios_packet).addr() as u16
}

/// Calls the BIOS with this packet in its place. Returns registers and packet as it left them.
///
/// # Safety
///
/// The call writes to no memory but the packet and what is the caller's.
pub(crate) unsafe fn call(number: u8, registers: Registers, packet: Packet) -> (Registers, Packet) {
    // SAFETY: only this function touches the packet; there is one thread.
    unsafe { addr_of_mut!(bios_packet).write(packet) };
    // SAFETY: the same for the registers.
    unsafe { addr_of_mut!(bios_registers).write(registers) };
    // SAFETY: the assembly keeps what a function keeps; what the BIOS writes to is the caller's matter.
    unsafe { bios_interrupt(number.into()) };
    // SAFETY: as above; volatile, as the compiler knows nothing of the BIOS.
    let registers = unsafe { addr_of_mut!(bios_registers).read_volatile() };
    // SAFETY: as above.
    let packet = unsafe { addr_of_mut!(bios_packet).read_volatile() };
    (registers, packet)
}
