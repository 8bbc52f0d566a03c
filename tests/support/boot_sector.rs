//! A whole guest in 512 bytes: it prints to the serial port, does one thing, and stops.

use std::path::Path;

use karat::disk::BaseImage;

/// The one thing.
#[derive(Clone, Copy)]
pub enum Act {
    /// ACPI power off, at q35's port.
    PowerOff,
    /// What Linux tells the pvpanic device.
    Panic,
    /// Reset by the keyboard controller.
    Reset,
    /// Nothing: it halts with interrupts off and ignores the power button.
    Hang,
}

/// Writes the guest's disk.
pub fn write(path: &Path, text: &str, act: Act) -> BaseImage {
    let act: &[u8] = match act {
        Act::PowerOff => &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef], // mov dx, 0x604; mov ax, 0x2000; out dx, ax
        Act::Panic => &[0xba, 0x05, 0x05, 0xb0, 0x01, 0xee], // mov dx, 0x505; mov al, 1; out dx, al
        Act::Reset => &[0xb0, 0xfe, 0xe6, 0x64],             // mov al, 0xfe; out 0x64, al
        Act::Hang => &[],
    };
    // xor ax, ax; mov ds, ax; cld; mov si, text
    let mut code = vec![0x31, 0xc0, 0x8e, 0xd8, 0xfc, 0xbe, 0, 0];
    // next: lodsb; test al, al; jz done; mov dx, 0x3f8; out dx, al; jmp next; done:
    code.extend([
        0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5,
    ]);
    code.extend(act);
    code.extend([0xfa, 0xf4, 0xeb, 0xfd]); // cli; again: hlt; jmp again
    let address = 0x7c00 + u16::try_from(code.len()).unwrap();
    code[6..8].copy_from_slice(&address.to_le_bytes());
    code.extend(text.bytes());
    code.push(0);
    assert!(code.len() <= 510, "the text is too long");
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    code.resize(1 << 20, 0);
    std::fs::write(path, code).unwrap();
    BaseImage {
        path: path.to_owned(),
        format: "raw".into(),
    }
}
