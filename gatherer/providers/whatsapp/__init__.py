"""WhatsApp's own objects, which Meta posts and other providers pass on: shared by the providers' modules."""
