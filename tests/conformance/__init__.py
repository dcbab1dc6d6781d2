"""Does Remit verify what the draft says, no more and no less?"""
