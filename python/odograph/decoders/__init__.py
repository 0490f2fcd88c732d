"""The layers that step: packets, events, and flow (blocks and instructions), as libipt's decoders do."""
