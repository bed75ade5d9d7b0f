"""What requests and answers look like in the APIs of model servers, for the parsers to share."""
