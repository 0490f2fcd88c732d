"""``odograph-ptdump`` and ``odograph-ptxed``: libipt's tools by their old options, texts and exit codes."""
