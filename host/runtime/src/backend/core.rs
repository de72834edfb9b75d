//! A backend with a core behind it: the driver, whatever its link.

use super::{Backend, BackendError, Choice, Kind, Saved};
use crate::driver::{CoreDriver, Counters, DriverError, RegisterBus, Snapshot};
use annulus_contract::shape::CoreShape;
use annulus_model::image::Image;
use std::convert::Infallible;
use std::ops::ControlFlow;

/// A core on a link.
pub struct Core<B: RegisterBus> {
    kind: Kind,
    driver: CoreDriver<B>,
}

impl<B: RegisterBus> Core<B>
where
    B::Error: std::error::Error + Into<BackendError> + Send + Sync + 'static,
{
    /// Greet the core behind `bus`.
    ///
    /// # Errors
    /// If no core answers.
    pub fn new(kind: Kind, bus: B) -> Result<Self, BackendError> {
        Ok(Core {
            kind,
            driver: CoreDriver::new(bus)?,
        })
    }

    /// The driver, for what only a core can do.
    pub fn driver(&mut self) -> &mut CoreDriver<B> {
        &mut self.driver
    }
}

impl From<Infallible> for BackendError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl<E> From<DriverError<E>> for BackendError
where
    E: std::error::Error + Into<BackendError> + Send + Sync + 'static,
{
    fn from(error: DriverError<E>) -> Self {
        match error {
            DriverError::Bus(error) => error.into(),
            DriverError::NotLoaded => BackendError::NotLoaded,
            DriverError::Snapshot => BackendError::Foreign,
            DriverError::SelfTest(why) => BackendError::SelfTest(why),
            other => BackendError::Run(Box::new(other)),
        }
    }
}

impl<B: RegisterBus> Backend for Core<B>
where
    B::Error: std::error::Error + Into<BackendError> + Send + Sync + 'static,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn shape(&self) -> Option<&CoreShape> {
        Some(self.driver.shape())
    }

    fn load(&mut self, image: &Image) -> Result<(), BackendError> {
        Ok(self.driver.load(image)?)
    }

    fn set_choice(&mut self, choice: Choice) -> Result<(), BackendError> {
        self.driver.set_sampler(choice.gumbel)?;
        Ok(self.driver.set_special(choice.stop, choice.restart)?)
    }

    fn reset(&mut self) -> Result<(), BackendError> {
        Ok(self.driver.reset()?)
    }

    fn prefill(&mut self, tokens: &[u32]) -> Result<(), BackendError> {
        Ok(self.driver.prefill(tokens)?)
    }

    fn step(&mut self, token: u32) -> Result<u32, BackendError> {
        Ok(self.driver.step(token)?)
    }

    fn run(
        &mut self,
        token: u32,
        n: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, BackendError> {
        Ok(self.driver.generate(&[token], n, on_token)?)
    }

    fn logits(&mut self) -> Result<Vec<i32>, BackendError> {
        Ok(self.driver.logits()?)
    }

    fn counters(&mut self) -> Result<Option<Counters>, BackendError> {
        Ok(Some(self.driver.counters()?))
    }

    fn clear_counters(&mut self) -> Result<(), BackendError> {
        Ok(self.driver.clear_counters()?)
    }

    fn save(&mut self) -> Result<Saved, BackendError> {
        Ok(Saved(Box::new(self.driver.save()?)))
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), BackendError> {
        let snapshot: &Snapshot = saved.0.downcast_ref().ok_or(BackendError::Foreign)?;
        Ok(self.driver.restore(snapshot)?)
    }

    fn self_test(&mut self) -> Result<(), BackendError> {
        Ok(self.driver.self_test()?)
    }
}
