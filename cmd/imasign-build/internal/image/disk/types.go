package disk

// mbrTypes are the types of an MBR that images use, by the names of sfdisk.
func mbrTypes() map[byte]string {
	return map[byte]string{
		0x01: "FAT12",
		0x04: "FAT16 <32M",
		0x05: "Extended",
		0x06: "FAT16",
		0x07: "HPFS/NTFS/exFAT",
		0x0b: "W95 FAT32",
		0x0c: "W95 FAT32 (LBA)",
		0x0e: "W95 FAT16 (LBA)",
		0x0f: "W95 Ext'd (LBA)",
		0x82: "Linux swap / Solaris",
		0x83: "Linux",
		0x85: "Linux extended",
		0x8e: "Linux LVM",
		0xda: "Non-FS data",
		0xea: "Linux extended boot",
		0xef: "EFI (FAT-12/16/32)",
		0xfd: "Linux raid autodetect",
	}
}

// gptTypes are the types of a GPT that images use, by the names of sfdisk.
func gptTypes() map[string]string {
	return map[string]string{
		"c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI System",
		"21686148-6449-6e6f-744e-656564454649": "BIOS boot",
		"bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
		"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft basic data",
		"0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux filesystem",
		"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
		"3b8f8425-20e0-4f3b-907f-1a25a76f98e8": "Linux server data",
		"933ac7e1-2eb4-4f13-b844-0e14e2aef915": "Linux home",
		"4d21b016-b534-45c2-a9fb-5c16e091fd2d": "Linux variable data",
		"7ec6f557-3bc5-4aca-b293-16ef5df639d1": "Linux temporary data",
		"e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
		"a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
		"44479540-f297-41b2-9af7-d131d5f0458a": "Linux root (x86)",
		"4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
		"69dad710-2ce4-4e3c-b16c-21a1d49abed3": "Linux root (ARM)",
		"b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (ARM-64)",
		"72ec70a6-cf74-40e6-bd49-4bda08e8f224": "Linux root (RISC-V-64)",
		"8484680c-9521-48c6-9c11-b0720656f69e": "Linux /usr (x86-64)",
		"7d0359a3-02b3-4f0a-865c-654403e70625": "Linux /usr (ARM)",
		"b0e01050-ee5f-4390-949a-9101b17104e9": "Linux /usr (ARM-64)",
		"d13c5d3b-b5d1-422a-b29f-9454fdc89d76": "Linux root verity (x86)",
		"2c7357ed-ebd2-46d9-aec1-23d437ec2bf5": "Linux root verity (x86-64)",
		"7386cdf2-203c-47a9-a498-f2ecce45a2d6": "Linux root verity (ARM)",
		"df3300ce-d69f-4c92-978c-9bfb0f38d820": "Linux root verity (ARM-64)",
		"77ff5f63-e7b6-4633-acf4-1565b864c0e6": "Linux /usr verity (x86-64)",
		"6e11a4e7-fbca-4ded-b9e9-e1a512bb664e": "Linux /usr verity (ARM-64)",
	}
}
