"""What a stream is, and the records that cross folder borders: no Beam, no statistics."""
