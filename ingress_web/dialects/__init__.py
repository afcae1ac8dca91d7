"""What carriers' media streams say on the wire, a file each. Pure: text in, messages out."""
