//! The one place that chooses where to compute.

use candle_core::Device;

use crate::DeviceChoice;

/// A device that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// This build has no kernels for GPUs.
    #[error("device `cuda:{number}` was asked for, but this build computes on CPUs only")]
    NotBuilt {
        /// The GPU's number.
        number: u32,
    },
    /// The GPU did not start.
    #[error("could not open device `cuda:{number}`")]
    Open {
        /// The GPU's number.
        number: u32,
        /// What the driver said.
        source: candle_core::Error,
    },
}

impl DeviceError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            DeviceError::NotBuilt { .. } => "set `device = \"cpu\"` or `\"auto\"` in the pipeline's `model` section".into(),
            DeviceError::Open { .. } => {
                "check the number and the driver, or set `device = \"auto\"` in the pipeline's `model` section".into()
            }
        })
    }
}

/// Opens the device of a choice.
pub(crate) fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    let built = candle_core::utils::cuda_is_available();
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(number) if !built => Err(DeviceError::NotBuilt { number }),
        DeviceChoice::Cuda(number) => Device::new_cuda(number as usize).map_err(|source| DeviceError::Open { number, source }),
        DeviceChoice::Auto if built => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
        DeviceChoice::Auto => Ok(Device::Cpu),
    }
}
