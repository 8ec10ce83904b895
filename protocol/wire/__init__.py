"""What the gateway and the sites speak: one .proto file, and the code that protoc made of it."""
