//! The messages of both ends as tonic's encoders and decoders.

use crate::message::{DeltaRequest, DeltaResponse, SotwRequest};
use crate::wire::{WireDeltaRequest, WireDeltaResponse, WireSotwRequest};
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A thousand streams of a process each keep such buffers; they grow where a message needs it.
fn buffers() -> BufferSettings {
    BufferSettings::new(1024, 32 * 1024)
}

/// Of a client: delta requests out, delta responses in.
pub(super) struct ClientCodec;

impl Codec for ClientCodec {
    type Encode = DeltaRequest;
    type Decode = DeltaResponse;
    type Encoder = DeltaRequestEncoder;
    type Decoder = Decode<WireDeltaResponse, DeltaResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        DeltaRequestEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decode(PhantomData)
    }
}

pub(super) struct DeltaRequestEncoder;

impl Encoder for DeltaRequestEncoder {
    type Item = DeltaRequest;
    type Error = Status;

    fn encode(&mut self, item: DeltaRequest, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let encoded = WireDeltaRequest::from(item).encode(dst);
        encoded.map_err(|e| Status::internal(e.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Reads the protobuf message `W` and hands it on as `T`.
pub(super) struct Decode<W, T>(PhantomData<fn() -> (W, T)>);

pub(super) fn delta_requests() -> Decode<WireDeltaRequest, DeltaRequest> {
    Decode(PhantomData)
}

pub(super) fn sotw_requests() -> Decode<WireSotwRequest, SotwRequest> {
    Decode(PhantomData)
}

impl<W: Message + Default, T: From<W>> Decoder for Decode<W, T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        let message = W::decode(src).map_err(|e| Status::invalid_argument(e.to_string()))?;
        Ok(Some(T::from(message)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
