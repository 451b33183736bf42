"""What clients can ask for, whatever protocol they speak: values in, operations and values out, and what is counted of them.

A codec, such as ``binary``, turns frames into calls of these, and what comes of them into frames. Nothing here knows a frame, an
opcode or a status.
"""
