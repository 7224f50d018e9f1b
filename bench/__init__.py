"""What README's performance figures come from: `make bench`."""
