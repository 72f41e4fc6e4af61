"""Other people's weights and formats, in and out. Nothing in a file is believed, or executed."""
