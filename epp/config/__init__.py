"""EndpointPickerConfig: from text to live objects."""
