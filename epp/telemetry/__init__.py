"""What the picker tells about itself: metrics, log lines, the last decisions."""
