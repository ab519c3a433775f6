"""Trees that ask one question a level: fast to grow and to read without compiled code of ours."""
